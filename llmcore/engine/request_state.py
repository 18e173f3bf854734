"""State of an open request: its sequence, and what turns the sequence's tokens into an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from llmcore.engine.answer_endings import NO_ENDINGS, AnswerEndings
from llmcore.engine.logits_processor import LogitsProcessor
from llmcore.engine.prompt_logprobs import PromptLogprobs
from llmcore.engine.prompts import TokenizedPrompt
from llmcore.engine.text_stream import TextStream
from llmcore.errors import LlmcoreError
from llmcore.grammar.content_gate import TokenConstraint
from llmcore.llama.chat import ChatParser
from llmcore.llama.chat_stream import ChatStream, ParsedChat
from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler, SampleRequest
from llmcore.messages import Finished, FinishReason, GenerateRequest, Piece, TokenLogprob, Usage
from llmcore.sequence import Sequence


@dataclass(eq=False)
class RequestState:
    """`n_generated_max` bounds the answer, the sequence's n_tokens_max is the room in the context. Times are by the engine's
    clock.

    `_held_logprobs` are log-probabilities of tokens whose text is held back, each with the place in the answer's bytes where its
    token begins.
    """

    sequence: Sequence
    sampler: Sampler
    text: TextStream
    ignore_eos: bool
    n_generated_max: int | None
    deadline_s: float | None
    parser: ChatParser | None = None  # None if the text is plain content
    chat: ChatStream | None = None  # what the parser has read
    preserved: frozenset[int] = frozenset()  # special tokens that are text here
    n_reasoning: int = 0
    constraint: TokenConstraint | None = None
    relaxed: tuple[str, ...] = ()  # paths of keywords of schemas that the constraint does not hold
    n_logprobs: int | None = None
    prompt_logprobs: PromptLogprobs | None = None
    logits_processors: tuple[LogitsProcessor, ...] = ()
    failure: LlmcoreError | None = None  # an error of the caller's logits processor
    endings: AnswerEndings = NO_ENDINGS
    shows_special_tokens: bool = False
    prediction: tuple[int, ...] = ()  # tokens that the answer is expected to have
    is_cut: bool = False  # a stop token of the caller's has ended it
    is_started: bool = False
    first_token_s: float | None = None
    n_cached: int = 0
    n_restored: int = 0
    n_steps: int = 0  # that gave it tokens
    n_prediction_accepted: int = 0  # tokens of its prediction that were drafted, and are the answer's
    n_prediction_rejected: int = 0  # tokens of its prediction that were drafted in vain
    tokens: list[int] = field(default_factory=list)  # of the answer, also those that a context shift has dropped
    _held_logprobs: list[tuple[int, TokenLogprob]] = field(default_factory=list)
    _n_bytes: int = 0

    def close(self) -> None:
        """Frees its native objects."""
        self.sampler.close()
        if self.parser is not None:
            self.parser.close()

    def read_content(self) -> None:
        """Makes all text of the answer its content."""
        assert self.parser is not None
        self.parser.close()
        self.chat, self.parser = None, None

    def read_content_if(self, is_content: Callable[[], bool], is_decided: Callable[[], bool]) -> None:
        """Makes all text of the answer its content if it turns out to be that. Until it is decided, nothing is emitted."""
        assert self.parser is not None
        parse = _reader(self.parser)

        def read(text: str, is_partial: bool) -> ParsedChat:
            if is_content():
                return ParsedChat(content=text)
            return ParsedChat() if is_partial and not is_decided() else parse(text, is_partial)

        self.chat = ChatStream(read)

    def start(self) -> bool:
        """Records that a step has a row of it, so that its part found in the cache is known. Returns True the first time."""
        if self.is_started:
            return False
        self.is_started = True
        self.n_cached, self.n_restored = self.sequence.n_cached, self.sequence.n_restored
        return True

    def sample_request(self, row: int) -> SampleRequest:
        """Returns what its next token is sampled from: batch index `row` of the step that was decoded."""
        mask = None if self.constraint is None else self.constraint.mask
        if self.is_short(self.sequence.n_generated):
            mask = self.endings.mask
        return SampleRequest(self.sampler, row, mask, self.n_logprobs)

    def is_short(self, n_generated: int) -> bool:
        """True if an answer of so many tokens may not end yet."""
        return n_generated < self.endings.n_min

    def push(self, data: bytes, logprob: TokenLogprob | None = None) -> str:
        """Adds the bytes of a token and returns the text that became certain by it."""
        if logprob is not None:
            self._held_logprobs.append((self._n_bytes, logprob))
        self._n_bytes += len(data)
        return self.text.push(data, may_stop=not self.is_short(self.sequence.n_generated))

    def grow(self, text: str, n_tokens: int) -> Piece:
        """Returns the output of n_tokens more tokens and the text that they made certain."""
        request_id, logprobs = self.sequence.request_id, self.logprobs()
        if self.chat is None:
            return Piece(request_id, text, n_tokens, logprobs=logprobs)
        delta = self.chat.push(text)
        self.n_reasoning += n_tokens if self.chat.is_reasoning else 0
        return Piece(request_id, delta.content, n_tokens, delta.reasoning, delta.calls, logprobs)

    def end(self, text: str, reason: FinishReason, now_s: float) -> Finished:
        """Returns the last output. `text` is the text that was held back."""
        request_id, usage, logprobs = self.sequence.request_id, self.usage(now_s), self.logprobs(is_end=True)
        stop_string = self.text.stop_string if reason == "stop" else ""
        if self.chat is None:
            return Finished(
                request_id, text, reason, usage, logprobs=logprobs, stop_string=stop_string, tokens=tuple(self.tokens)
            )
        delta = self.chat.finish(text, is_whole=reason == "stop" and not (self.text.stopped or self.is_cut))
        return Finished(
            request_id,
            delta.content,
            reason,
            usage,
            delta.reasoning,
            delta.calls,
            logprobs,
            stop_string,
            tuple(self.tokens),
        )

    def logprobs(self, *, is_end: bool = False) -> tuple[TokenLogprob, ...]:
        """Takes the log-probabilities that can be shown now. At the end all can, except those of text that a stop string has
        swallowed."""
        if not self._held_logprobs:
            return ()
        n, n_shown = len(self._held_logprobs), self._n_bytes - self.text.n_held
        if not is_end or self.text.stopped:
            n = sum(start < n_shown for start, _ in self._held_logprobs)
        shown, self._held_logprobs = self._held_logprobs[:n], self._held_logprobs[n:]
        return tuple(each for _, each in shown)

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
            n_steps=self.n_steps,
            n_prediction_accepted=self.n_prediction_accepted,
            n_prediction_rejected=self.n_prediction_rejected,
        )


def open_request_state(
    model: Model,
    request: GenerateRequest,
    prompt: TokenizedPrompt,
    sequence: Sequence,
    deadline_s: float | None,
    endings: AnswerEndings,
    *,
    n_ctx: int,
) -> RequestState:
    """Makes the state of a request. Raises InvalidRequestError; nothing stays open then."""
    sampler = Sampler(model, request.sampling, n_ctx=n_ctx)
    try:
        sampler.prime(prompt.tokens)
        parser = ChatParser(prompt.chat.syntax) if prompt.chat and prompt.chat.syntax else None
    except BaseException:
        sampler.close()
        raise
    return RequestState(
        sequence,
        sampler,
        TextStream([*request.stop, *prompt.stops], request.stop if request.shows_stop else ()),
        request.ignore_eos,
        request.max_tokens,
        deadline_s,
        parser=parser,
        chat=None if parser is None else ChatStream(_reader(parser)),
        preserved=prompt.preserved,
        n_logprobs=request.n_logprobs,
        prompt_logprobs=_prompt_logprobs(request),
        endings=endings,
        shows_special_tokens=request.shows_special_tokens,
        prediction=prompt.prediction,
    )


def _prompt_logprobs(request: GenerateRequest) -> PromptLogprobs | None:
    n_top = request.n_prompt_logprobs
    return None if n_top is None else PromptLogprobs(request.prompt_logprobs_from, n_top)


def _reader(parser: ChatParser) -> Callable[[str, bool], ParsedChat]:
    return lambda text, is_partial: parser.parse(text, is_partial=is_partial)
