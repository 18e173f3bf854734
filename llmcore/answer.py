"""A request in the engine: its sequence, and what turns the sequence's tokens into an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmcore.chat import ChatParser
from llmcore.chatstream import ChatStream, ParsedChat
from llmcore.detokenize import TextStream
from llmcore.messages import Finished, FinishReason, GenerateRequest, Piece, Usage
from llmcore.model import Model
from llmcore.prompts import Tokenized
from llmcore.sampler import Sampler
from llmcore.sequence import Sequence


@dataclass(eq=False)
class Answer:
    """`n_generated_max` bounds the answer, the sequence's n_tokens_max what fits into the context. Times are a clock's."""

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
    is_started: bool = False
    first_token_s: float | None = None
    n_cached: int = 0
    n_restored: int = 0

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

    def grow(self, text: str) -> Piece:
        """What one more token, and the text that it made certain, give to whoever reads the answer."""
        request_id = self.sequence.request_id
        if self.chat is None:
            return Piece(request_id, text, 1)
        delta = self.chat.push(text)
        self.n_reasoning += self.chat.is_reasoning
        return Piece(request_id, delta.content, 1, delta.reasoning, delta.calls)

    def end(self, text: str, reason: FinishReason, now_s: float) -> Finished:
        """The last output. `text` is what was held back."""
        request_id, usage = self.sequence.request_id, self.usage(now_s)
        if self.chat is None:
            return Finished(request_id, text, reason, usage)
        delta = self.chat.finish(text, is_whole=reason == "stop" and not self.text.stopped)
        return Finished(request_id, delta.content, reason, usage, delta.reasoning, delta.calls)

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


def open_answer(
    model: Model,
    request: GenerateRequest,
    prompt: Tokenized,
    sequence: Sequence,
    deadline_s: float | None,
    *,
    n_ctx: int,
) -> Answer:
    """What a request's answer needs. Raises InvalidRequestError; nothing stays open then."""
    sampler = Sampler(model, request.sampling, n_ctx=n_ctx)
    try:
        sampler.prime(prompt.tokens)
        if prompt.chat and prompt.chat.grammar:
            sampler.hold(prompt.chat.grammar)
        parser = ChatParser(prompt.chat.syntax) if prompt.chat and prompt.chat.syntax else None
    except BaseException:
        sampler.close()
        raise
    return Answer(
        sequence,
        sampler,
        TextStream([*request.stop, *prompt.stops]),
        request.ignore_eos,
        request.max_tokens,
        deadline_s,
        parser=parser,
        chat=None if parser is None else ChatStream(_reader(parser)),
        preserved=prompt.preserved,
    )


def _reader(parser: ChatParser) -> Callable[[str, bool], ParsedChat]:
    return lambda text, is_partial: parser.parse(text, is_partial=is_partial)
