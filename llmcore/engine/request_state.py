"""A request in the engine: its sequence, and what turns the sequence's tokens into an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from llmcore.engine.prompts import TokenizedPrompt
from llmcore.engine.text_stream import TextStream
from llmcore.errors import InvalidRequestError
from llmcore.grammar.content_gate import (
    ContentGate,
    TokenConstraint,
    call_tokens,
    calls_are_certain,
    is_opened,
    reads_json,
)
from llmcore.llama.chat import ChatParser
from llmcore.llama.chat_stream import ChatStream, ParsedChat
from llmcore.llama.ffi.arrays import UInt32Array
from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler, SampleRequest
from llmcore.messages import Finished, FinishReason, GenerateRequest, Piece, TokenLogprob, Usage
from llmcore.sequence import Sequence


@dataclass(eq=False)
class RequestState:
    """`n_generated_max` bounds the answer, the sequence's n_tokens_max what fits into the context. Times are a clock's.

    `_untold` are log-probabilities of tokens whose text is held back, and where in the answer's bytes each token begins.
    """

    sequence: Sequence
    sampler: Sampler
    text: TextStream
    ignore_eos: bool
    n_generated_max: int | None
    deadline_s: float | None
    parser: ChatParser | None = None  # where the text is not just content
    chat: ChatStream | None = None  # what the parser has read
    preserved: frozenset[int] = frozenset()  # special tokens that are text here
    n_reasoning: int = 0
    holder: TokenConstraint | None = None  # to what its tokens are held
    n_logprobs: int | None = None
    is_started: bool = False
    first_token_s: float | None = None
    n_cached: int = 0
    n_restored: int = 0
    _untold: list[tuple[int, TokenLogprob]] = field(default_factory=list)
    _n_bytes: int = 0

    def close(self) -> None:
        """Frees what native code holds for it."""
        self.sampler.close()
        if self.parser is not None:
            self.parser.close()

    def start(self) -> bool:
        """A step takes part of it: what it found in the cache is known now. Whether that was the first time."""
        if self.is_started:
            return False
        self.is_started = True
        self.n_cached, self.n_restored = self.sequence.n_cached, self.sequence.n_restored
        return True

    def grow(self, text: str, n_tokens: int) -> Piece:
        """What more tokens, and the text that they made certain, give to whoever reads the answer."""
        request_id, logprobs = self.sequence.request_id, self.logprobs()
        if self.chat is None:
            return Piece(request_id, text, n_tokens, logprobs=logprobs)
        delta = self.chat.push(text)
        self.n_reasoning += n_tokens if self.chat.is_reasoning else 0
        return Piece(request_id, delta.content, n_tokens, delta.reasoning, delta.calls, logprobs)

    def end(self, text: str, reason: FinishReason, now_s: float) -> Finished:
        """The last output. `text` is what was held back."""
        request_id, usage, logprobs = self.sequence.request_id, self.usage(now_s), self.logprobs(is_end=True)
        if self.chat is None:
            return Finished(request_id, text, reason, usage, logprobs=logprobs)
        delta = self.chat.finish(text, is_whole=reason == "stop" and not self.text.stopped)
        return Finished(request_id, delta.content, reason, usage, delta.reasoning, delta.calls, logprobs)

    def draw(self, row: int) -> SampleRequest:
        """What its next token is to be drawn from."""
        return SampleRequest(self.sampler, row, None if self.holder is None else self.holder.mask, self.n_logprobs)

    def push(self, data: bytes, logprob: TokenLogprob | None = None) -> str:
        """Adds the bytes of a token; returns the text that became certain by it."""
        if logprob is not None:
            self._untold.append((self._n_bytes, logprob))
        self._n_bytes += len(data)
        return self.text.push(data)

    def logprobs(self, *, is_end: bool = False) -> tuple[TokenLogprob, ...]:
        """Those that can be told now. At the end that is all of them, but for what a stop string has swallowed."""
        if not self._untold:
            return ()
        n, n_shown = len(self._untold), self._n_bytes - self.text.n_held
        if not is_end or self.text.stopped:
            n = sum(start < n_shown for start, _ in self._untold)
        told, self._untold = self._untold[:n], self._untold[n:]
        return tuple(each for _, each in told)

    def usage(self, now_s: float) -> Usage:
        sequence = self.sequence
        started_s = now_s if sequence.started_s is None else sequence.started_s
        first_s = now_s if self.first_token_s is None else self.first_token_s
        return Usage(
            n_prompt=sequence.n_prompt,
            n_cached=self.n_cached,
            n_generated=sequence.n_generated,
            n_restored=self.n_restored,
            n_reasoning=self.n_reasoning,
            queue_s=started_s - sequence.arrived_s,
            prefill_s=first_s - started_s,
            decode_s=now_s - first_s,
        )


def open_request_state(
    model: Model,
    request: GenerateRequest,
    prompt: TokenizedPrompt,
    sequence: Sequence,
    deadline_s: float | None,
    *,
    n_ctx: int,
) -> RequestState:
    """What a request's answer needs. Raises InvalidRequestError; nothing stays open then."""
    sampler = Sampler(model, request.sampling, n_ctx=n_ctx)
    try:
        sampler.prime(prompt.tokens)
        if prompt.chat and prompt.chat.grammar:
            sampler.constrain(prompt.chat.grammar)
        parser = ChatParser(prompt.chat.syntax) if prompt.chat and prompt.chat.syntax else None
    except BaseException:
        sampler.close()
        raise
    return RequestState(
        sequence,
        sampler,
        TextStream([*request.stop, *prompt.stops]),
        request.ignore_eos,
        request.max_tokens,
        deadline_s,
        parser=parser,
        chat=None if parser is None else ChatStream(_reader(parser)),
        preserved=prompt.preserved,
        n_logprobs=request.n_logprobs,
    )


def constrain_request_state(
    answer: RequestState,
    holder: TokenConstraint,
    prompt: TokenizedPrompt,
    model: Model,
    anything: Callable[[], UInt32Array],
    piece: Callable[[int], bytes],
) -> None:
    """Holds an answer's content, or the whole of it where nothing else is in it. `anything` and `piece` as Gate has them.

    Raises InvalidRequestError where that cannot be told apart.
    """
    chat, parser = prompt.chat, answer.parser
    if chat is None or parser is None:
        answer.holder = holder
    elif calls_are_certain(chat):
        pass  # the call's own grammar holds it
    elif reads_json(chat, parser):
        starts = (
            model.tokenize(chat.thinking_start, add_special=False, parse_special=True) if chat.thinking_start else []
        )
        answer.holder = ContentGate(
            holder,
            anything(),
            piece,
            is_reasoning=is_opened(chat),
            start=starts[0] if len(starts) == 1 and chat.thinking_ends else None,
            ends=chat.thinking_ends,
            calls=call_tokens(chat, prompt.preserved, piece),
        )
    elif chat.grammar:
        message = "the model writes content in a form of its own: send either tools or a form of the answer"
        raise InvalidRequestError(message, param="constraint")
    else:  # such content cannot be held together with what is around it: then there is nothing around it
        answer.chat, answer.parser = None, None
        parser.close()
        answer.holder = holder


def _reader(parser: ChatParser) -> Callable[[str, bool], ParsedChat]:
    return lambda text, is_partial: parser.parse(text, is_partial=is_partial)
