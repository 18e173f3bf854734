"""A scripted engine: tests of the service decide its outputs, their times, and its failures."""

from __future__ import annotations

import asyncio
import itertools
from array import array
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import structs

from llmcore.errors import (
    EngineDiedError,
    EngineUnavailableError,
    InvalidRequestError,
    LlmcoreError,
    PrefixMissingError,
)
from llmcore.messages import (
    ChatPrompt,
    Computation,
    EngineStats,
    Finished,
    FinishReason,
    GenerateRequest,
    ModelInfo,
    Piece,
    PrefixInfo,
    PrefixSpec,
    TextPrompt,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from llmcore.protocol.replies import VectorsReply

# One step of a script: a text, a piece with more than text, an error to raise, an event to wait for, or seconds to sleep.
Step = str | Piece | Exception | asyncio.Event | float
Script = Callable[[GenerateRequest], Iterable[Step]]

WORDS = ["Hello", " there", "", ", ", "wörld 🌍", "\n"]
MODEL = ModelInfo(
    path="/models/fake.gguf",
    description="fake",
    architecture="fake",
    n_params=1,
    size_bytes=1,
    n_vocab=100,
    n_embd=1,
    n_layer=1,
    n_ctx_train=100,
    n_ctx=100,
    has_chat_template=True,
    has_reasoning_efforts=True,
)
COMPUTATION = Computation(
    fingerprint="fp_1234",
    build="b1-abc",
    kernels="avx2",
    flash_attn=True,
    cache_type_k="f16",
    cache_type_v="f16",
    model_digest="d1",
)


def prompt_text(request: GenerateRequest) -> str:
    """Returns the text of the last message, or of the prompt."""
    if isinstance(request.prompt, ChatPrompt):
        messages = msgspec.json.decode(request.prompt.messages)
        content = messages[-1]["content"] if messages else ""
        return content if isinstance(content, str) else "".join(part["text"] for part in content or ())
    return request.prompt.text if isinstance(request.prompt, TextPrompt) else repr(request.prompt.tokens)


def by_prompt(request: GenerateRequest) -> Iterable[Step]:
    """The default script, chosen by the prompt."""
    text = prompt_text(request)
    if text == "forever":
        return itertools.chain.from_iterable(itertools.repeat((0.01, "word ")))
    if text == "flood":
        return itertools.repeat("x" * 10_000)
    if text.startswith("count "):
        return itertools.chain.from_iterable((0.02, f"{i} ") for i in range(int(text.split()[1])))
    if text == "die":
        return ["I am ", EngineDiedError("the engine's process ended while this request was running")]
    if text == "crash":
        return [RuntimeError("secret /path")]
    return WORDS


class FakeGeneration:
    def __init__(self, engine: FakeEngine, request: GenerateRequest) -> None:
        self.request_id = request.request_id
        self.n_prompt = 7
        self.relaxed = engine.relaxed
        self._engine = engine
        self._steps: Iterator[Step] = iter(engine.script(request))
        self._n_left = request.max_tokens
        self._n_logprobs = request.n_logprobs
        self._n_prompt_logprobs = request.n_prompt_logprobs
        self._n_generated = 0
        self._ended = False
        self.cancel = asyncio.Event()

    async def __anext__(self) -> Piece | Finished:
        if self._ended:
            raise StopAsyncIteration
        if self._n_left == 0:
            return self._finish("length")
        for step in self._steps:
            if self.cancel.is_set():
                break
            if isinstance(step, Exception):
                self._engine.close(self)
                self._ended = True
                raise step
            if isinstance(step, asyncio.Event):
                await self._unless_ended(step.wait())
            elif isinstance(step, float):
                await self._unless_ended(asyncio.sleep(step))
            else:
                self._n_generated += 1
                if self._n_left is not None:
                    self._n_left -= 1
                if isinstance(step, Piece):
                    return structs.replace(step, request_id=self.request_id)
                return Piece(self.request_id, step, 1, logprobs=self._logprobs(step))
        return self._finish("cancelled" if self.cancel.is_set() else self._engine.reason)

    def _logprobs(self, text: str) -> tuple[TokenLogprob, ...]:
        """A text is one token, the most probable of its place."""
        if self._n_logprobs is None or not text:
            return ()
        token, data = self._n_generated, text.encode()
        return (TokenLogprob(token, data, -0.5, (TopLogprob(token, data, -0.5),) * self._n_logprobs),)

    async def _unless_ended(self, waiting: Coroutine[Any, Any, object]) -> None:
        """Waits until the coroutine, cancel() or stop() ends the wait, as in AsyncEngine. stop() raises an error."""
        ends = (waiting, self._engine.stopped.wait(), self.cancel.wait())
        tasks = [asyncio.ensure_future(each) for each in ends]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        if self._engine.stopped.is_set():
            raise EngineUnavailableError("the engine is stopping")

    def _finish(self, reason: FinishReason) -> Finished:
        self._ended = True
        self._engine.close(self)
        usage = self._engine.usages.pop(0) if self._engine.usages else self._usage(reason)
        return Finished(
            self.request_id,
            self._engine.held_back,
            reason,
            usage,
            stop_string=self._engine.stop_string,
            prompt_logprobs=self._prompt_logprobs(),
        )

    def _prompt_logprobs(self) -> tuple[TokenLogprob, ...]:
        """Those of a prompt of two tokens, the second of which is the second most probable at its place."""
        if self._n_prompt_logprobs is None:
            return ()
        top = (TopLogprob(8, b" b", -0.25), TopLogprob(9, b" a", -1.5))
        return (TokenLogprob(9, b" a", -1.5, top[: self._n_prompt_logprobs]),)

    def _usage(self, reason: FinishReason) -> Usage:
        return Usage(
            n_prompt=self.n_prompt,
            n_cached=3,
            n_restored=2,
            n_generated=self._n_generated + (reason in ("stop", "length")),
            queue_s=0.001,
            prefill_s=0.002,
            decode_s=0.003,
        )

    async def aclose(self) -> None:
        if not self._ended:
            self._ended = True
            self._engine.close(self)
            self._engine.cancelled.append(self.request_id)


class FakeEngine:
    """`requests` has all requests, `open` the ids of those that run, `cancelled` of those that were closed before their end,
    and `pinned` the prefixes by name."""

    def __init__(self, script: Script = by_prompt) -> None:
        self.script = script
        self.state = "ready"
        self.is_warm = True
        self.model: ModelInfo | None = MODEL
        self.n_restarts = 0
        self.reason: FinishReason = "stop"
        self.held_back = ""
        self.stop_string = ""
        self.relaxed: tuple[str, ...] = ()  # keywords of schemas that are not held
        self.usages: list[Usage] = []  # of the next answers that finish
        self.refusals: list[LlmcoreError] = []  # raised by the next calls that need the engine
        self.admission: asyncio.Event | None = None  # if set, generate() waits for it
        self.stats_delay_s = 0.0
        self.load_error: LlmcoreError | None = None
        self.requests: list[GenerateRequest] = []
        self.embedded: list[tuple[list[str | Sequence[int]], int | None]] = []  # texts, and dimensions
        self.open: set[str] = set()
        self.cancelled: list[str] = []
        self.pinned: dict[str, PrefixSpec] = {}
        self.on_cancelled: Callable[[float], None] | None = None
        self.stopped = asyncio.Event()
        self._generations: dict[str, FakeGeneration] = {}

    async def start(self) -> None:
        pass

    async def wait_ready(self) -> ModelInfo:
        if self.load_error is not None:
            self.state = "failed"
            raise self.load_error
        return MODEL

    async def stop(self) -> None:
        self.state = "stopped"
        self.stopped.set()

    async def generate(self, request: GenerateRequest) -> FakeGeneration:
        self.requests.append(request)
        generation = self._generations[request.request_id] = FakeGeneration(self, request)
        try:
            await self._admit(request)
        except BaseException:
            self.close(generation)
            raise
        return generation

    async def _admit(self, request: GenerateRequest) -> None:
        if self.admission is not None:
            await self.admission.wait()
        self._refuse()
        assert request.request_id not in self.open, "ids of open requests are unique"
        self.open.add(request.request_id)

    async def cancel(self, request_id: str) -> bool:
        generation = self._generations.get(request_id)
        if generation is not None:
            generation.cancel.set()
        return generation is not None

    async def pin(self, spec: PrefixSpec) -> PrefixInfo:
        self._refuse()
        self.pinned[spec.name] = spec
        return PrefixInfo(name=spec.name, n_tokens=7, is_computed=True)

    async def unpin(self, name: str) -> None:
        self._refuse()
        if self.pinned.pop(name, None) is None:
            raise PrefixMissingError(f"there is no prefix {name!r}")

    async def prefixes(self) -> list[PrefixInfo]:
        self._refuse()
        return [PrefixInfo(name=name, n_tokens=7, is_computed=True) for name in self.pinned]

    async def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        self._refuse()
        return [int(add_special), int(parse_special), *text.encode()]

    async def detokenize(self, tokens: Iterable[int]) -> str:
        self._refuse()
        if max(tokens, default=0) > 255:
            raise InvalidRequestError("a token is not in the vocabulary", param="tokens")
        return bytes(tokens).decode("utf-8", "replace")

    async def render(self, prompt: ChatPrompt) -> str:
        self._refuse()
        return f"{prompt.messages.decode()} {prompt.add_generation_prompt}"

    async def tokenize_chat(self, prompt: ChatPrompt) -> list[int]:
        return list((await self.render(prompt)).encode())

    async def embed(self, texts: Sequence[str | Sequence[int]], *, dimensions: int | None) -> VectorsReply:
        """The vector of a text is its length, followed by fractions that have no exact decimal form."""
        self.embedded.append((list(texts), dimensions))
        await self._compute()
        width = dimensions or 3
        rows = [[float(len(text)), *(1 / (3 + i) for i in range(width - 1))] for text in texts]
        return VectorsReply(1, array("f", itertools.chain(*rows)).tobytes(), width, sum(map(len, texts)))

    async def rerank(self, query: str, documents: Sequence[str]) -> VectorsReply:
        """The score of a document is its length."""
        self.embedded.append(([query, *documents], None))
        await self._compute()
        return VectorsReply(1, array("f", map(len, documents)).tobytes(), 1, sum(map(len, documents)))

    async def _compute(self) -> None:
        self._refuse()
        if self.admission is not None:
            try:
                await self.admission.wait()
            except asyncio.CancelledError:
                self.cancelled.append("vectors")
                raise

    async def inspect(self) -> bytes:
        self._refuse()
        return b'{"slots": []}'

    def _refuse(self) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        if self.state != "ready":
            raise EngineUnavailableError(f"the engine is {self.state}")

    async def stats(self) -> EngineStats:
        await asyncio.sleep(self.stats_delay_s)
        if self.state != "ready":
            raise EngineUnavailableError(f"the engine is {self.state}")
        # Each field has a value of its own, so that a test can see which one a metric shows.
        values = {name: 100 + i for i, name in enumerate(EngineStats.__struct_fields__)}
        drafts = {"drafted": {"text": 90, "prediction": 91}, "accepted": {"text": 92, "prediction": 93}}
        return msgspec.convert(values | drafts | {"n_running": len(self.open), "n_waiting": 2}, EngineStats)

    def close(self, generation: FakeGeneration) -> None:
        self.open.discard(generation.request_id)
        self._generations.pop(generation.request_id, None)
