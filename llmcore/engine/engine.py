"""The engine: requests in, pieces of text out, one step at a time.

`Engine.step()` is the main loop's body: expire deadlines, schedule, decode, sample, commit, emit. One thread owns an engine; the
methods for other threads say so. Text is made here, after sampling: whole characters, nothing of a stop string.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from llmcore.batch import Batch
from llmcore.config import EngineConfig
from llmcore.embedding.queue import EmbeddingQueue
from llmcore.engine.cached_states import CachedStates
from llmcore.engine.context_shift import ContextShift
from llmcore.engine.draft_model import DraftModel
from llmcore.engine.draft_rounds import DraftRounds
from llmcore.engine.failed_sequences import FailedSequences
from llmcore.engine.inspection import inspect
from llmcore.engine.logits_processor import LogitsProcessor
from llmcore.engine.open_requests import OpenRequests
from llmcore.engine.output_processor import OutputProcessor
from llmcore.engine.pinned_prefixes import PinnedPrefixes
from llmcore.engine.prompts import Prompts, TokenizedPrompt
from llmcore.engine.request_builder import RequestBuilder
from llmcore.engine.running_step import RunningStep
from llmcore.engine.speculation import open_speculation
from llmcore.engine.stats import EngineStatistics
from llmcore.engine.step_sampling import StepSampling
from llmcore.engine.token_text import TokenText
from llmcore.errors import ClosedError, InvalidRequestError, error_from_code
from llmcore.grammar.call_grammar import needed_constraints
from llmcore.grammar.constraint import Constraints
from llmcore.grammar.mask_thread import MaskThread
from llmcore.llama.kv_memory import KVMemory
from llmcore.llama.model import Model
from llmcore.llama.model_info import model_info
from llmcore.llama.model_load import LoadProgress
from llmcore.llama.sampler import SampledToken
from llmcore.machine.process import Process
from llmcore.messages import (
    Accepted,
    ChatPrompt,
    Constraint,
    EngineStats,
    Failed,
    Finished,
    GenerateRequest,
    ModelInfo,
    Output,
    Prompt,
    TokensPrompt,
)
from llmcore.protocol.checks import check_request, checked, checked_request
from llmcore.protocol.commands import RenderCommand, TokenizeChatCommand
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.refusals import Refusals
from llmcore.scheduling.scheduler import Scheduler
from llmcore.sequence import Sequence
from llmcore.startup.computation import describe_computation
from llmcore.startup.engine_parts import EngineParts, open_engine_parts, open_model, state_fingerprint
from llmcore.startup.prefix_file import read_prefix_file

# The engine in error messages.
_NAME = "the engine"


class Engine:
    """Owns a model, its context and its chat template, and serves many sequences in them. Made by `Engine.open(config)`."""

    def __init__(self, parts: EngineParts, clock: Callable[[], float] = time.monotonic) -> None:
        limits, context = parts.limits, parts.context
        self.model = parts.model
        self.limits = limits
        self._context = context
        self._template = parts.template
        self._threads = parts.threads
        self._clock = clock
        self._process = Process.current
        self._is_closed = False
        costs = CostModel(parts.measured)
        self._cache = KVCache(
            KVMemory(context),
            n_slots=context.params.n_slots - 1,
            n_cells=context.n_ctx,
            host=parts.host,
            cost=lambda start, end: costs.prefill_seconds(start, end, limits.n_batch) or float(end - start),
        )
        draft_model = None if parts.draft_context is None else DraftModel(parts.draft_context, parts.model.n_vocab)
        self._speculation = open_speculation(parts.speculation, self._cache, draft_model, clock)
        source = self._speculation if self._speculation.is_on else None
        self._scheduler = Scheduler(self._cache, limits, costs, source)
        self._prompts = Prompts(parts.model, parts.template, limits)
        self.prefixes = PinnedPrefixes(
            self._scheduler, self._prompts, parts.store, clock, self._check_open, self._speculation
        )
        self._constraints = Constraints(parts.model)
        self._masks = MaskThread()
        token_text, shift = TokenText(parts.model), ContextShift(self._scheduler, is_enabled=parts.context_shift)
        self._builder = RequestBuilder(parts.model, limits, self._cache, self._prompts, self._constraints, token_text)
        self._requests = OpenRequests(self._scheduler, token_text, self._speculation, clock)
        self._failed = FailedSequences(self._scheduler, self._requests, self.prefixes)
        self.embeddings = EmbeddingQueue(
            parts.model, parts.embedder, limits, dimensions=parts.embed_dimensions, clock=clock
        )
        self._statistics = EngineStatistics(self._scheduler, self.embeddings, self._speculation)
        self._outputs = OutputProcessor(self._requests, self._scheduler, token_text, shift, self._statistics, clock)
        self._sampling = StepSampling(context, self._scheduler, self._requests)
        self._draft_rounds = DraftRounds(
            self._scheduler, context, self._requests, self._sampling, self._outputs, self._speculation
        )
        self.states = CachedStates(self._cache, lambda: state_fingerprint(context))
        self._running_step = RunningStep(
            self._scheduler, context, self._requests, self._statistics, clock=clock, check_open=self._check_open
        )

    @classmethod
    def open(cls, config: EngineConfig, *, progress: LoadProgress | None = None, model: Model | None = None) -> Engine:
        """Loads what `config` names, makes an engine of it, and computes the prefixes of its prefix file. A `model` that is loaded
        already becomes the engine's, which closes it also on an error."""
        model = model or open_model(config, progress)
        try:
            prefixes = read_prefix_file(config.prefix_file) if config.prefix_file else []
            engine = cls(open_engine_parts(config, model))
        except BaseException:
            model.close()
            raise
        try:
            engine.prefixes.queue_all(prefixes)
            while engine.has_work:
                engine.step()
            engine.prefixes.check_computed(prefixes)
        except BaseException:
            engine.close()
            raise
        return engine

    def close(self) -> None:
        """Frees everything. Open requests end without an output. Safe to call twice, and from any thread: a step in progress ends
        soon, with ClosedError. In a process that was forked from this one, does nothing."""
        if not self._process.is_current:
            return
        self._is_closed = True
        self._requests.close()
        self.embeddings.close()
        self._masks.close()
        self._constraints.close()
        self._template.close()
        self._context.close()
        self._speculation.close()
        self.model.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        self._process.check(_NAME)
        if self._is_closed:
            raise ClosedError("the engine is closed")

    # --- Steps --------------------------------------------------------------------------------------------------------

    def step(self) -> list[Output]:
        """Computes one step and returns its outputs. The list is empty if there was nothing to do or the step was aborted.

        Raises CellsBrokenError if logits are NaN or infinite and may have corrupted other sequences' cells: the engine can
        compute nothing more.
        """
        self._check_open()
        outputs: list[Output] = []
        with self._running_step as running:
            outputs += self._requests.expire(running.started_s)
            batch = self._scheduler.schedule(running.started_s)
            if self._scheduler.out_of_cells:
                outputs += self._failed.end_out_of_cells()
            if batch is not None:
                running.begin(batch)
                self._decode(batch)
                sampled = self._sampling.sample()
                running.end(batch, sampled)
                outputs += self._emit(self._commit(sampled), sampled)
        if running.failure is not None:
            outputs += self._failed.end(running.failure)
        return outputs

    def _decode(self, batch: Batch) -> None:
        """Decodes a batch. Meanwhile another thread computes the tokens that constraints allow."""
        constraints = [self._requests[sequence.request_id].constraint for sequence, _ in self._scheduler.scheduled()]
        self._masks.start([each for each in constraints if each is not None])
        try:
            self._context.decode(batch)
        finally:
            self._masks.wait()

    def _commit(self, sampled: list[SampledToken]) -> list[Sequence]:
        """Appends the tokens to their sequences, which are returned, and pins the prefixes that are complete."""
        grown = self._scheduler.commit([each.token for each in sampled])
        prefixes = [each for each in self._scheduler.in_step if each.is_prefix]
        if prefixes:
            self.prefixes.pin_computed(prefixes)
        return [sequence for sequence, _ in grown]

    def _emit(self, grown: list[Sequence], sampled: list[SampledToken]) -> list[Output]:
        """Returns the outputs of the step's tokens, and of the further ones that agree with drafts."""
        self._draft_rounds.begin()
        first = [self._outputs.process(sequence, each) for sequence, each in zip(grown, sampled, strict=True)]
        return self._draft_rounds.run(first)

    def observe_steps(self, call: Callable[[tuple[str, ...], float], None]) -> None:
        """Calls `call` before each step, with the ids of the requests in it and the seconds that it should take."""
        self._running_step.on_step = call

    # --- Requests -----------------------------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        return self._scheduler.has_work

    def read(self, prompt: Prompt, prediction: str = "") -> TokenizedPrompt:
        """Renders and tokenizes a request's prompt and prediction, which submit() does otherwise. For any thread. Raises
        InvalidRequestError or ContextLengthError."""
        self._process.check(_NAME)
        return self._builder.read(prompt, prediction)

    def submit(
        self,
        request: GenerateRequest,
        *,
        prompt: TokenizedPrompt | None = None,
        arrived_s: float | None = None,
        logits_processors: tuple[LogitsProcessor, ...] = (),
    ) -> Accepted:
        """Queues a request. Raises InvalidRequestError, ContextLengthError or OverloadedError; nothing changes then.

        Args:
            prompt: the result of read() for its prompt and prediction. The types of the request's fields must have been checked
                then.
            logits_processors: functions that change the logits before each token is drawn, in this thread.
            arrived_s: time of arrival by the engine's clock, if that is not now; the request's timeout counts from there.
        """
        self._check_open()
        if prompt is None:
            request = checked_request(request)
        else:
            check_request(request)
        if request.request_id in self._requests:
            raise InvalidRequestError(f"request id {request.request_id!r} is in use", param="request_id")
        now_s = self._clock()
        state = self._builder.build(request, now_s if arrived_s is None else arrived_s, prompt)
        state.logits_processors = logits_processors
        self._requests.add(state, now_s)
        self._speculation.predict(state)
        return Accepted(request.request_id, state.sequence.n_prompt, state.relaxed)

    def cancel(self, request_id: str) -> Finished | None:
        """Ends a request in any phase; what it computed stays as a cached prefix. Returns None if there is no such request."""
        self._process.check(_NAME)
        request = self._requests.get(request_id)
        if request is None:
            return None
        self._statistics.counters.n_cancelled += 1
        return self._requests.finish(request, "cancelled", "")

    def interrupt(self, request_ids: frozenset[str] | set[str]) -> None:
        """Aborts the step that is being computed, if it serves only these requests. They still have to be cancelled. For other
        threads."""
        self._running_step.interrupt(request_ids)

    def refusals(self) -> Refusals:
        """Returns the refusal that submit() would raise even for the cheapest request, by priority (high, normal, low). Empty if
        none is refused."""
        self._process.check(_NAME)
        return self._scheduler.admission.refusals(self._clock())

    def is_prepared(self, constraint: Constraint | None, prompt: TokenizedPrompt | None = None) -> bool:
        """True if submit() need not compile anything for a request with this constraint and prompt (the result of read())."""
        self._process.check(_NAME)
        needed = needed_constraints(None if prompt is None else prompt.chat, constraint)
        return all(map(self._constraints.is_ready, needed))

    def prepare(self, constraint: Constraint | None, prompt: TokenizedPrompt | None = None) -> None:
        """Compiles what a request with this constraint and prompt needs, which submit() does otherwise. For any thread. Raises
        InvalidRequestError."""
        self._check_open()
        for needed in needed_constraints(None if prompt is None else prompt.chat, constraint):
            self._constraints.prepare(needed)

    def render(self, prompt: ChatPrompt) -> str:
        """Returns messages as the chat template writes them. For any thread. Raises InvalidRequestError."""
        self._process.check(_NAME)
        return self._prompts.render(checked(RenderCommand(0, prompt)).prompt)

    def tokenize_chat(self, prompt: ChatPrompt) -> tuple[int, ...]:
        """Returns the tokens of messages, however many, as a request's prompt. For any thread. Raises InvalidRequestError."""
        return self._prompts.tokenize_chat(checked(TokenizeChatCommand(0, prompt)).prompt)

    # --- About the engine ---------------------------------------------------------------------------------------------

    def drop_cached_prefixes(self) -> None:
        """Forgets the cells, host memory and answers of finished requests; running and pinned sequences stay."""
        self._process.check(_NAME)
        self._cache.drop_idle()
        self._speculation.drop_answers()

    @property
    def threads(self) -> int:
        """Number of threads of a step of one token."""
        return self._context.threads[0]

    def warm_up(self) -> None:
        """Decodes one token, so that the first request finds weights in memory and the graph built."""
        token = self.model.bos if self.model.bos is not None else 0
        request = GenerateRequest(request_id="warm-up", prompt=TokensPrompt((token,)), max_tokens=1)
        self.submit(request)
        while self.has_work:
            for output in self.step():
                if isinstance(output, Failed):
                    raise error_from_code(output.code, output.message)
        self._statistics.reset()

    def inspect(self) -> bytes:
        """Returns JSON about slots, queue, host cache, cost model and drafters, without any text or token."""
        self._process.check(_NAME)
        return inspect(self._scheduler, self._speculation, self._clock())

    def info(self) -> ModelInfo:
        self._process.check(_NAME)
        has_efforts = self._template.capabilities.get("supports_reasoning_effort", False)
        pooling = self.embeddings.pooling
        return model_info(
            self.model,
            self.limits.n_ctx,
            pooling,
            self._threads,
            has_reasoning_efforts=has_efforts,
            computation=describe_computation(self._context),
        )

    def stats(self) -> EngineStats:
        self._process.check(_NAME)
        return self._statistics.snapshot()
