"""The engine: requests in, pieces of text out, one step at a time.

`Engine.step()` reads as a sentence: schedule, decode, sample, commit. One thread owns an engine; only `interrupt` may be
called from others. Text is made here, after sampling: whole characters, nothing of a stop string.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType

from llmcore.batch import Batch
from llmcore.config import EngineConfig
from llmcore.embedding.queue import EmbeddingQueue
from llmcore.engine.inspection import inspect
from llmcore.engine.output_processor import OutputProcessor
from llmcore.engine.pinned_prefixes import PinnedPrefixes
from llmcore.engine.prompts import Prompts, TokenizedPrompt
from llmcore.engine.request_builder import RequestBuilder
from llmcore.engine.request_state import RequestState
from llmcore.engine.stats import EngineCounters
from llmcore.engine.token_text import TokenText
from llmcore.errors import (
    CellsBrokenError,
    ClosedError,
    ConfigError,
    ContextLengthError,
    EngineError,
    InvalidRequestError,
    LlmcoreError,
    NativeError,
    error_from_code,
)
from llmcore.grammar.constraint import Constraints, MaskThread
from llmcore.llama.context import StepAborted
from llmcore.llama.kv_memory import KVMemory
from llmcore.llama.model import LoadProgress, Model, model_info
from llmcore.llama.sampler import BROKEN, NOT_FINITE, SampledToken, sample_batch
from llmcore.log import event
from llmcore.machine.process import Process
from llmcore.messages import (
    Accepted,
    ChatPrompt,
    Constraint,
    EngineStats,
    Failed,
    Finished,
    FinishReason,
    GenerateRequest,
    ModelInfo,
    Output,
    PrefixInfo,
    PrefixSpec,
    Prompt,
    TokensPrompt,
)
from llmcore.protocol.checks import check_request, checked, checked_request
from llmcore.protocol.commands import PinCommand, RenderCommand
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.refusals import Refusals
from llmcore.scheduling.scheduler import Scheduler
from llmcore.sequence import Sequence
from llmcore.startup.engine_parts import EngineParts, open_engine_parts, open_model
from llmcore.startup.prefix_file import read_prefix_file

logger = logging.getLogger(__name__)

# A context shift keeps the beginning of the prompt, up to this part of the context, and half of the rest.
_SHIFT_KEEP = 1 / 4


class Engine:
    """Owns a model, its context and its chat template, and serves many sequences in them.

    Use `Engine.open(config)`. Raises what Model and Context raise.
    """

    def __init__(self, parts: EngineParts, clock: Callable[[], float] = time.monotonic) -> None:
        limits, context = parts.limits, parts.context
        self.model = parts.model
        self.limits = limits
        self._context = context
        self._template = parts.template
        self._context_shift = parts.context_shift
        self._threads = parts.threads
        self._clock = clock
        costs = CostModel(parts.measured)
        self._cache = KVCache(
            KVMemory(context),
            n_slots=context.params.n_slots - 1,
            n_cells=context.n_ctx,
            host=parts.host,
            cost=lambda start, end: costs.prefill_seconds(start, end, limits.n_batch) or float(end - start),
        )
        self._scheduler = Scheduler(self._cache, limits, costs)
        self.embeddings = EmbeddingQueue(
            parts.model, parts.embedder, limits, dimensions=parts.embed_dimensions, clock=clock
        )
        self._prompts = Prompts(parts.model, parts.template, limits)
        self._pinning = PinnedPrefixes(self._scheduler, self._prompts, parts.store, clock)
        self._answers: dict[str, RequestState] = {}
        self._constraints = Constraints(parts.model)
        pieces = TokenText(parts.model)
        self._intake = RequestBuilder(parts.model, limits, self._cache, self._prompts, self._constraints, pieces)
        self._taking = OutputProcessor(pieces, self._scheduler.force)
        self._masks = MaskThread()
        self._counters = EngineCounters()
        self._process = Process.current
        self._is_closed = False
        self._serving: frozenset[str] = frozenset()
        self._deadline_s = float("inf")  # the earliest of all answers
        # Told before a step is computed: the request ids in it, and the seconds that it should take.
        self.on_step: Callable[[tuple[str, ...], float], None] | None = None

    @classmethod
    def open(cls, config: EngineConfig, *, progress: LoadProgress | None = None, model: Model | None = None) -> Engine:
        """Loads what `config` names, makes an engine of it, and computes the prefixes that are to be pinned. A `model` that is
        loaded already becomes the engine's, which closes it also on an error."""
        model = model or open_model(config, progress)
        try:
            pins = read_prefix_file(config.prefix_file) if config.prefix_file else []
            engine = cls(open_engine_parts(config, model))
        except BaseException:
            model.close()
            raise
        try:
            engine._pin_all(pins)
        except BaseException:
            engine.close()
            raise
        return engine

    def close(self) -> None:
        """Frees everything. Requests that are alive end without a word. Safe to call twice, and from any thread: a step in progress
        ends soon, with ClosedError. In a process that was forked from this one, does nothing."""
        if not self._process.is_current:
            return
        self._is_closed = True
        for answer in list(self._answers.values()):
            answer.close()
        self._answers.clear()
        self.embeddings.close()
        self._masks.close()
        self._constraints.close()
        self._template.close()
        self._context.close()
        self.model.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        self._process.check("the engine")
        if self._is_closed:
            raise ClosedError("the engine is closed")

    # --- Requests -----------------------------------------------------------------------------------------------------

    @property
    def threads(self) -> int:
        """Threads of a step of one token."""
        return self._context.threads[0]

    @property
    def has_work(self) -> bool:
        return self._scheduler.has_work

    def read(self, prompt: Prompt) -> TokenizedPrompt:
        """Renders and tokenizes a prompt for submit(), which does it otherwise. For any thread. Raises InvalidRequestError or
        ContextLengthError."""
        return self._intake.read(prompt)

    def read_prefix(self, prompt: Prompt) -> list[int]:
        """The same for pin()."""
        return self._prompts.prefix(prompt)

    def submit(
        self, request: GenerateRequest, *, prompt: TokenizedPrompt | None = None, arrived_s: float | None = None
    ) -> Accepted:
        """Queues a request. Raises InvalidRequestError, ContextLengthError or OverloadedError; nothing changes then.

        Args:
            prompt: its prompt as read() gave it. The types of the request's fields must have been checked then.
            arrived_s: when it came, by the engine's clock, if that is not now; its timeout counts from there.
        """
        self._check_open()
        if prompt is None:
            request = checked_request(request)
        else:
            check_request(request)
        if request.request_id in self._answers:
            raise InvalidRequestError(f"request id {request.request_id!r} is in use", param="request_id")
        now_s = self._clock()
        answer = self._intake.open(request, now_s if arrived_s is None else arrived_s, prompt)
        try:
            self._scheduler.add(answer.sequence, now_s)
        except BaseException:
            answer.close()
            raise
        self._answers[request.request_id] = answer
        self._deadline_s = min(self._deadline_s, answer.deadline_s or self._deadline_s)
        return Accepted(request.request_id, answer.sequence.n_prompt)

    def refusals(self) -> Refusals:
        """By priority (high, normal, low): what submit() would tell even the cheapest request; empty if that is nothing."""
        return self._scheduler.admission.refusals(self._clock())

    def is_prepared(self, constraint: Constraint) -> bool:
        """Whether submit() need not compile it."""
        return self._constraints.is_ready(constraint)

    def prepare(self, constraint: Constraint) -> None:
        """Compiles a constraint for submit(), without which that does it. For any thread. Raises InvalidRequestError."""
        self._check_open()
        self._constraints.prepare(constraint)

    def cancel(self, request_id: str) -> Finished | None:
        """Ends a request in any phase; what it computed stays as a cached prefix. None if there is no such request."""
        answer = self._answers.get(request_id)
        if answer is None:
            return None
        self._counters.n_cancelled += 1
        return self._finish(answer, "cancelled", "")

    def interrupt(self, request_ids: frozenset[str] | set[str]) -> None:
        """Ends the step that is being computed, if it serves nobody but these requests. For other threads; the requests are
        still to be cancelled."""
        serving = self._serving
        if serving and serving <= request_ids:
            self._context.abort_flag.set(True)

    def drop_cached_prefixes(self) -> None:
        """Forgets what finished requests have left in cells and in host memory; what is running or pinned stays."""
        self._cache.drop_idle()

    # --- Pinned prefixes ----------------------------------------------------------------------------------------------

    def pin(self, spec: PrefixSpec, *, tokens: list[int] | None = None) -> PrefixInfo:
        """Queues a prefix to be computed and never evicted; `tokens` are what read_prefix() gave. Raises InvalidRequestError or
        OverloadedError."""
        self._check_open()
        if tokens is None:
            spec = checked(PinCommand(0, spec)).prefix
        return self._pinning.pin(spec, tokens)

    def unpin(self, name: str) -> None:
        """Raises PrefixMissingError."""
        self._pinning.unpin(name)

    def render(self, prompt: ChatPrompt) -> str:
        """Messages as the chat template writes them. For any thread. Raises InvalidRequestError."""
        return self._prompts.render(checked(RenderCommand(0, prompt)).prompt)

    def prefixes(self) -> list[PrefixInfo]:
        return self._pinning.infos()

    def _pin_all(self, specs: list[PrefixSpec]) -> None:
        for spec in specs:
            try:
                self.pin(spec)
            except InvalidRequestError as error:
                message = f"prefix_file: {spec.name!r}: {error.message}"
                raise ConfigError(message, param="prefix_file") from None
        while self.has_work:
            self.step()
        missing = {spec.name for spec in specs} - {info.name for info in self.prefixes() if info.is_computed}
        if missing:
            raise LlmcoreError(f"prefix {sorted(missing)[0]!r} cannot be computed: the lines before this say why")

    # --- Steps --------------------------------------------------------------------------------------------------------

    def step(self) -> list[Output]:
        """Computes one step. Returns what came of it; an empty list if there was nothing to do, or the step was aborted.

        Raises CellsBrokenError where numbers ran over and that cannot be held to those whose they are: nothing more can be
        computed with this engine."""
        self._check_open()
        try:
            return self._step()
        except Exception:
            self._check_open()  # it was closed meanwhile: what failed for that is no failure
            raise

    def _step(self) -> list[Output]:
        started_s = self._clock()
        outputs = self._end_late(started_s)
        batch = self._scheduler.schedule(started_s)
        outputs += self._end_full()
        if batch is None:
            return outputs
        self._begin(batch)
        native_s = self._clock()
        try:
            drawn = self._compute(batch)
        except StepAborted:
            self._scheduler.rollback()
            return outputs
        except LlmcoreError as error:
            self._check_open()
            return outputs + self._fail_step(error)
        except BaseException:  # Ctrl-C: whoever catches it can go on
            self._scheduler.rollback()
            raise
        finally:
            self._serving = frozenset()
        if not self._context.isolates_cells and any(each.token == BROKEN for each in drawn):
            raise CellsBrokenError(NOT_FINITE)
        native_s = self._clock() - native_s
        self._learn(batch, len(drawn), native_s)
        grown = self._commit([each.token for each in drawn])
        outputs += [self._advance(sequence, each) for (sequence, _), each in zip(grown, drawn, strict=True)]
        self._counters.native_s += native_s
        self._counters.step_s += self._clock() - started_s
        return outputs

    def _compute(self, batch: Batch) -> list[SampledToken]:
        """Decodes, and draws a token for each row that wants one. What constraints allow is found out meanwhile."""
        rows = [(self._answers[sequence.request_id], row) for sequence, row in self._scheduler.scheduled()]
        self._masks.start([answer.holder for answer, _ in rows if answer.holder is not None])
        try:
            self._context.decode(batch)
        finally:
            self._masks.wait()
        return sample_batch(self._context, [answer.draw(row) for answer, row in rows])

    def _begin(self, batch: Batch) -> None:
        counters, in_step = self._counters, self._scheduler.in_step
        for sequence in in_step:
            answer = self._answers.get(sequence.request_id)
            if answer is not None and answer.start():
                counters.n_tokens_cached += sequence.n_cached
                # Half of it, since chat templates begin all prompts alike: every sequence finds a few tokens.
                is_hit = 2 * sequence.n_cached >= sequence.n_prompt
                counters.n_prefix_hits += is_hit
                counters.n_prefix_misses += not is_hit
        self._context.abort_flag.set(False)
        self._serving = self._scheduler.served
        if self.on_step is not None:
            seconds = self._scheduler.costs.predict(batch.n_tokens, len(in_step), self._scheduler.n_cells_attended)
            self.on_step(tuple(each.request_id for each in in_step), seconds)

    def _commit(self, tokens: list[int]) -> list[tuple[Sequence, int]]:
        prefixes = [each for each in self._scheduler.in_step if each.is_prefix]
        grown = self._scheduler.commit(tokens)
        for sequence in prefixes:
            if sequence.n_remaining == 0:
                self._pinning.computed(sequence)
        return grown

    def _learn(self, batch: Batch, n_generated: int, seconds: float) -> None:
        counters = self._counters
        counters.n_steps += 1
        counters.n_tokens_generated += n_generated
        decoding = {each.slot for each in self._scheduler.in_step if each.phase == "decode"}
        counters.n_tokens_prefilled += sum(row.n_tokens for row in batch.rows if row.slot not in decoding)
        n_cells = self._scheduler.n_cells_attended
        self._scheduler.costs.observe(batch.n_tokens, n_generated, n_cells, max(seconds, 1e-6))

    # --- Ends ---------------------------------------------------------------------------------------------------------

    def _end_late(self, now_s: float) -> list[Output]:
        """Ends what has passed its deadline."""
        if now_s < self._deadline_s:
            return []
        late = [each for each in self._answers.values() if each.deadline_s is not None and each.deadline_s <= now_s]
        outputs: list[Output] = [self._finish(answer, "timeout", answer.text.finish()) for answer in late]
        deadlines = [each.deadline_s for each in self._answers.values() if each.deadline_s is not None]
        self._deadline_s = min(deadlines, default=float("inf"))
        return outputs

    def _end_full(self) -> list[Output]:
        """Ends what finds no cells, not even alone: pinned prefixes have taken them since it was accepted."""
        outputs: list[Output] = []
        for sequence in list(self._scheduler.full):
            message = "pinned prefixes leave too few cells for this prompt"
            answer = self._answers.get(sequence.request_id)
            if answer is None:
                self._pinning.failed(sequence, message)
            elif sequence.n_generated:
                outputs.append(self._finish(answer, "length", answer.text.finish()))
            else:
                # The error that it would have had at once, if it had come after them.
                error = ContextLengthError(message, n_prompt=sequence.n_prompt, n_ctx=self.limits.n_ctx)
                outputs.append(self._fail(answer, error))
        return outputs

    def _fail_step(self, error: LlmcoreError) -> list[Output]:
        """The step cannot be computed, and would fail again: its requests end, the others go on."""
        event(logger, logging.ERROR, "step_failed", code=error.code, message=error.message)
        sequences = self._scheduler.in_step
        self._scheduler.rollback()
        outputs: list[Output] = []
        for sequence in sequences:
            answer = self._answers.get(sequence.request_id)
            if answer is None:
                self._pinning.failed(sequence, error.message)
                continue
            outputs.append(self._fail(answer, EngineError(error.message)))
        return outputs

    def _fail(self, answer: RequestState, error: LlmcoreError) -> Failed:
        self._forget(answer, "failed")
        return Failed(answer.sequence.request_id, error.code, error.message, error.param)

    def _advance(self, sequence: Sequence, drawn: SampledToken) -> Output:
        """Makes text of a new token and of those that have to follow it, and ends the answer where it ends."""
        answer = self._answers[sequence.request_id]
        if answer.first_token_s is None:
            answer.first_token_s = self._clock()
            self._scheduler.admission.answered(sequence, answer.first_token_s)
        n_before = sequence.n_generated - 1
        try:
            text, reason = self._taking.take(answer, drawn)
        except InvalidRequestError as error:
            return self._fail(answer, error)
        except NativeError as error:
            event(logger, logging.ERROR, "answer_failed", request_id=sequence.request_id, message=error.message)
            return self._fail(answer, error)
        n_tokens = sequence.n_generated - n_before
        self._counters.n_tokens_generated += n_tokens - 1  # the drawn one was counted with the step
        if reason is None and len(sequence.tokens) >= sequence.n_tokens_max:
            reason = None if answer.n_generated_max and self._shift(sequence) else "length"
        if reason is not None:
            return self._finish(answer, reason, text + answer.text.finish())
        return answer.grow(text, n_tokens)

    def _shift(self, sequence: Sequence) -> bool:
        """Makes room at the end of the context by forgetting, if that was asked for. What is kept behind the gap is computed
        anew: its keys and values told of what was forgotten, and cells that others share must not move."""
        n = len(sequence.tokens)
        n_keep = min(sequence.n_prompt, int(self.limits.n_ctx * _SHIFT_KEEP))
        n_drop = (n - n_keep) // 2
        if not self._context_shift or n_drop < 1:
            return False
        self._scheduler.shift(sequence, n_keep, n_drop)
        event(logger, logging.INFO, "context_shifted", request_id=sequence.request_id, n_dropped=n_drop)
        return True

    def _finish(self, answer: RequestState, reason: FinishReason, text: str) -> Finished:
        finished = answer.end(text, reason, self._clock())
        self._forget(answer, reason)
        return finished

    def _forget(self, answer: RequestState, reason: str) -> None:
        self._scheduler.remove(answer.sequence, reason, self._clock())
        answer.close()
        del self._answers[answer.sequence.request_id]

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
        self._counters = EngineCounters()

    def inspect(self) -> bytes:
        """JSON about slots, queue, host tier and cost model, without any text or token."""
        return inspect(self._scheduler, self._clock())

    def info(self) -> ModelInfo:
        return model_info(self.model, self.limits.n_ctx, self.embeddings.pooling, self._threads)

    def stats(self) -> EngineStats:
        return self._counters.stats(self._scheduler, self.embeddings)
