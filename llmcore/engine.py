"""The engine: requests in, pieces of text out, one step at a time.

`Engine.step()` reads as a sentence: schedule, decode, sample, commit. One thread owns an engine; only `interrupt` may be
called from others. Text is made here, after sampling: whole characters, nothing of a stop string.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from llmcore.chat import ChatTemplate
from llmcore.config import EngineConfig
from llmcore.context import Context, ContextParams, StepAborted
from llmcore.detokenize import TextStream
from llmcore.errors import ConfigError, ContextLengthError, InvalidRequestError, LlmcoreError, error_from_code
from llmcore.kvcache import KVCache
from llmcore.log import event
from llmcore.messages import (
    Accepted,
    ChatPrompt,
    EngineStats,
    Failed,
    Finished,
    FinishReason,
    GenerateRequest,
    ModelInfo,
    Output,
    Piece,
    TextPrompt,
    TokensPrompt,
    Usage,
)
from llmcore.model import Model, Progress
from llmcore.sampler import Sampler, sample_rows
from llmcore.scheduler import Limits, Scheduler
from llmcore.sequence import Sequence
from llmcore.threads import decide_threads

logger = logging.getLogger(__name__)

# A model's own context can be far beyond what a CPU serves with pleasure: without a word from the user, not more than this.
N_CTX_DEFAULT_MAX = 8192

# llama.cpp's limit on sequences of a context (LLAMA_MAX_SEQ).
N_SEQ_MAX = 256


@dataclass(eq=False)
class _Answer:
    """A request in the engine: its sequence, and what turns the sequence's tokens into an answer."""

    sequence: Sequence
    sampler: Sampler
    text: TextStream
    ignore_eos: bool
    started_s: float | None = None
    first_token_s: float | None = None
    n_cached: int = 0


@dataclass(eq=False)
class _Counters:
    n_steps: int = 0
    n_tokens_prefilled: int = 0
    n_tokens_cached: int = 0
    n_tokens_generated: int = 0


class _ContextMemory:
    """The kvcache.Memory of a context."""

    def __init__(self, context: Context) -> None:
        self._context = context
        model = context.model
        # A recurrent state cannot go back to an earlier token. Sliding-window layers keep their full cache (llama.cpp's
        # swa_full, on by default), so they can.
        self.can_truncate = not (model.is_recurrent or model.is_hybrid)

    def copy(self, source: int, target: int, n: int) -> None:
        self._context.copy(source, target, 0, n if self.can_truncate else -1)

    def truncate(self, slot: int, n: int) -> bool:
        return self._context.remove(slot, n, -1)

    def clear(self, slot: int) -> None:
        self._context.remove(slot)


class Engine:
    """Owns a model, its context and its chat template, and serves many sequences in them.

    Use `Engine.open(config)`. Raises what Model and Context raise.
    """

    def __init__(
        self,
        model: Model,
        context: Context,
        template: ChatTemplate,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.limits = limits
        self._context = context
        self._template = template
        self._clock = clock
        self._cache = KVCache(_ContextMemory(context), n_slots=context.params.n_slots, n_cells=context.n_ctx)
        self._scheduler = Scheduler(self._cache, limits)
        self._answers: dict[str, _Answer] = {}
        self._pieces: dict[int, bytes] = {}
        self._counters = _Counters()
        self._serving: frozenset[str] = frozenset()

    @classmethod
    def open(cls, config: EngineConfig, *, progress: Progress | None = None) -> Engine:
        """Loads what `config` names and makes an engine of it."""
        if not config.model_path:
            raise ConfigError("no model: set model_path (or MODEL_PATH)", param="model_path")
        template_source = _read_template(config.chat_template) if config.chat_template else None
        decision = decide_threads(config.threads)
        event(logger, logging.INFO, "threads", n=decision.n_threads, reason=decision.reason)
        model = Model(config.model_path, progress=progress, mmap=config.mmap, repack=config.repack, blas=config.blas)
        try:
            limits = decide_limits(config, model)
            context = Context(
                model,
                ContextParams(
                    n_ctx=limits.n_ctx,
                    n_slots=min(N_SEQ_MAX, 4 * config.n_slots + 16),
                    n_batch=config.n_batch,
                    n_ubatch=config.n_ubatch,
                    threads=decision.n_threads,
                    threads_batch=config.threads_batch or decision.n_threads,
                    cache_type_k=config.cache_type_k,
                    cache_type_v=config.cache_type_v,
                    flash_attn=config.flash_attn == "on",
                ),
            )
            try:
                return cls(model, context, ChatTemplate(model, template_source), limits)
            except BaseException:
                context.close()
                raise
        except BaseException:
            model.close()
            raise

    def close(self) -> None:
        """Frees everything. Requests that are alive end without a word. Safe to call twice."""
        for answer in self._answers.values():
            answer.sampler.close()
        self._answers.clear()
        self._template.close()
        self._context.close()
        self.model.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- Requests -----------------------------------------------------------------------------------------------------

    @property
    def threads(self) -> int:
        """Threads of a step of one token."""
        return self._context.threads[0]

    @property
    def has_work(self) -> bool:
        return self._scheduler.has_work

    def submit(self, request: GenerateRequest) -> Accepted:
        """Queues a request. Raises InvalidRequestError, ContextLengthError or OverloadedError; nothing changes then."""
        if request.request_id in self._answers:
            raise InvalidRequestError(f"request id {request.request_id!r} is in use", param="request_id")
        if request.max_tokens is not None and request.max_tokens < 1:
            raise InvalidRequestError(f"max_tokens must be at least 1, got {request.max_tokens}", param="max_tokens")
        tokens, stops = self._prompt(request)
        n_ctx = self.limits.n_ctx
        if len(tokens) >= n_ctx:
            raise ContextLengthError(
                f"the prompt has {len(tokens)} tokens; the context has {n_ctx}, of which the answer needs at least one",
                n_prompt=len(tokens),
                n_ctx=n_ctx,
                param="messages" if isinstance(request.prompt, ChatPrompt) else "prompt",
            )
        room = n_ctx - len(tokens)
        sequence = Sequence(
            request_id=request.request_id,
            tokens=tokens,
            n_prompt=len(tokens),
            n_tokens_max=len(tokens) + min(room, request.max_tokens or room),
            arrived_s=self._clock(),
        )
        sampler = Sampler(self.model, request.sampling, n_ctx=n_ctx)
        try:
            sampler.prime(tokens)
            self._scheduler.add(sequence)
        except BaseException:
            sampler.close()
            raise
        self._answers[request.request_id] = _Answer(sequence, sampler, TextStream(stops), request.ignore_eos)
        return Accepted(request.request_id, len(tokens))

    def cancel(self, request_id: str) -> Finished | None:
        """Ends a request in any phase; what it computed stays as a cached prefix. None if there is no such request."""
        answer = self._answers.get(request_id)
        return None if answer is None else self._finish(answer, "cancelled", "")

    def interrupt(self, request_ids: frozenset[str] | set[str]) -> None:
        """Ends the step that is being computed, if it serves nobody but these requests. For other threads; the requests are
        still to be cancelled."""
        serving = self._serving
        if serving and serving <= request_ids:
            self._context.abort_flag.set(True)

    def drop_cached_prefixes(self) -> None:
        """Forgets what finished requests have left in the cache; what is running stays."""
        self._cache.drop_cached()

    # --- Steps --------------------------------------------------------------------------------------------------------

    def step(self) -> list[Output]:
        """Computes one step. Returns what came of it; an empty list if there was nothing to do, or the step was aborted."""
        batch = self._scheduler.schedule()
        if batch is None:
            return []
        self._begin()
        try:
            self._context.decode(batch)
        except StepAborted:
            self._scheduler.rollback()
            return []
        except LlmcoreError as error:
            return self._fail_step(error)
        finally:
            self._serving = frozenset()
        rows = self._scheduler.scheduled()
        samplers = [self._answers[sequence.request_id].sampler for sequence, _ in rows]
        try:
            tokens = sample_rows(self._context, samplers, [row for _, row in rows])
        except LlmcoreError as error:
            return self._fail_step(error)
        self._count(batch.n_tokens, len(tokens))
        return [self._advance(sequence, token) for sequence, token in self._scheduler.commit(tokens)]

    def _begin(self) -> None:
        now = self._clock()
        for sequence in self._scheduler.in_step:
            answer = self._answers[sequence.request_id]
            if answer.started_s is None:
                answer.started_s, answer.n_cached = now, sequence.n_cached
                self._counters.n_tokens_cached += sequence.n_cached
        self._context.abort_flag.set(False)
        self._serving = frozenset(sequence.request_id for sequence in self._scheduler.in_step)

    def _fail_step(self, error: LlmcoreError) -> list[Output]:
        """The step cannot be computed, and would fail again: its requests end, the others go on."""
        event(logger, logging.ERROR, "step_failed", code=error.code, message=error.message)
        sequences = self._scheduler.in_step
        self._scheduler.rollback()
        outputs: list[Output] = []
        for sequence in sequences:
            self._forget(self._answers[sequence.request_id], "failed")
            outputs.append(Failed(sequence.request_id, "engine_error", error.message))
        return outputs

    def _count(self, n_tokens: int, n_generated: int) -> None:
        counters = self._counters
        counters.n_steps += 1
        counters.n_tokens_generated += n_generated
        counters.n_tokens_prefilled += n_tokens - sum(each.n_remaining == 1 for each in self._scheduler.in_step)

    def _advance(self, sequence: Sequence, token: int) -> Output:
        """Makes text of a new token, and ends the answer where it ends."""
        answer = self._answers[sequence.request_id]
        if answer.first_token_s is None:
            answer.first_token_s = self._clock()
        if not answer.ignore_eos and self.model.is_end(token):
            return self._finish(answer, "stop", answer.text.finish())
        text = answer.text.push(self._piece(token))
        if answer.text.stopped:
            return self._finish(answer, "stop", text)
        if len(sequence.tokens) >= sequence.n_tokens_max:
            return self._finish(answer, "length", text + answer.text.finish())
        return Piece(sequence.request_id, text, 1)

    def _finish(self, answer: _Answer, reason: FinishReason, text: str) -> Finished:
        now, sequence = self._clock(), answer.sequence
        started = answer.started_s if answer.started_s is not None else now
        first = answer.first_token_s if answer.first_token_s is not None else now
        usage = Usage(
            n_prompt=sequence.n_prompt,
            n_cached=answer.n_cached,
            n_generated=sequence.n_generated,
            queue_s=started - sequence.arrived_s,
            prefill_s=first - started,
            decode_s=now - first,
        )
        self._forget(answer, reason)
        return Finished(sequence.request_id, text, reason, usage)

    def _forget(self, answer: _Answer, reason: str) -> None:
        self._scheduler.remove(answer.sequence, reason)
        answer.sampler.close()
        del self._answers[answer.sequence.request_id]

    # --- Text ---------------------------------------------------------------------------------------------------------

    def _prompt(self, request: GenerateRequest) -> tuple[list[int], list[str]]:
        """Tokens of a request's prompt, and all its stop strings."""
        prompt, stops = request.prompt, list(request.stop)
        if isinstance(prompt, ChatPrompt):
            rendered = self._template.render(prompt.messages, add_generation_prompt=prompt.add_generation_prompt)
            tokens = self.model.tokenize(rendered.prompt, parse_special=True)
            stops += rendered.stops
        elif isinstance(prompt, TextPrompt):
            tokens = self.model.tokenize(prompt.text)
        else:
            tokens = list(prompt.tokens)
            self.model.check_tokens(tokens)
        if not tokens:
            raise InvalidRequestError("the prompt is empty", param="prompt")
        return tokens, stops

    def _piece(self, token: int) -> bytes:
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self.model.piece(token)
        return piece

    # --- About the engine ---------------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Decodes one token, so that the first request finds weights in memory and the graph built."""
        token = self.model.bos if self.model.bos is not None else 0
        request = GenerateRequest(request_id="warm-up", prompt=TokensPrompt((token,)), max_tokens=1)
        self.submit(request)
        while self.has_work:
            for output in self.step():
                if isinstance(output, Failed):
                    raise error_from_code(output.code, output.message)
        self._counters = _Counters()

    def info(self) -> ModelInfo:
        model = self.model
        return ModelInfo(
            path=model.path,
            description=model.description,
            architecture=model.architecture,
            n_params=model.n_params,
            size_bytes=model.size_bytes,
            n_vocab=model.n_vocab,
            n_embd=model.n_embd,
            n_layer=model.n_layer,
            n_ctx_train=model.n_ctx_train,
            n_ctx=self.limits.n_ctx,
            has_chat_template=model.chat_template is not None,
        )

    def stats(self) -> EngineStats:
        counters = self._counters
        return EngineStats(
            n_running=len(self._scheduler.running),
            n_waiting=len(self._scheduler.waiting),
            n_slots=self.limits.n_running,
            n_cells=self._cache.n_cells,
            n_cells_used=self._cache.n_cells_used,
            n_steps=counters.n_steps,
            n_tokens_prefilled=counters.n_tokens_prefilled,
            n_tokens_cached=counters.n_tokens_cached,
            n_tokens_generated=counters.n_tokens_generated,
        )


def decide_limits(config: EngineConfig, model: Model) -> Limits:
    """What follows from a configuration for a model."""
    n_ctx = config.n_ctx or min(model.n_ctx_train or N_CTX_DEFAULT_MAX, N_CTX_DEFAULT_MAX)
    if config.n_ctx > model.n_ctx_train > 0:
        event(logger, logging.WARNING, "context_beyond_training", n_ctx=config.n_ctx, n_ctx_train=model.n_ctx_train)
    return Limits(
        n_ctx=n_ctx,
        n_running=min(config.n_slots, config.n_batch),
        n_waiting=config.n_waiting_max,
        n_batch=config.n_batch,
        n_chunk_alone=config.n_batch,
        n_chunk_shared=min(config.n_batch, 64),
    )


def _read_template(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"chat_template: cannot read {path}: {error}", param="chat_template") from None
