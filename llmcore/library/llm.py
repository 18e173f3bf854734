"""LLM, the library's main class: a model in this process, ready for prompts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from llmcore.library.answering import Answering, Messages
from llmcore.library.beam_search import WIDTH_MAX, Beam, BeamSearch
from llmcore.library.checks import INT32_MAX, number_above, sequence_argument, token_ids, whole_number
from llmcore.library.description import describe
from llmcore.library.embeddings import Vectors, embed
from llmcore.library.engine_options import engine_config
from llmcore.library.local_engine import LocalEngine
from llmcore.library.options import EngineOptions, PromptOptions
from llmcore.library.pins import pin, pins, unpin
from llmcore.library.prompt_arguments import any_prompt, chat_prompt, refuse_others
from llmcore.library.sampling_defaults import model_sampling
from llmcore.library.saved_prompt import load_prompt, save_prompt
from llmcore.library.scoring import Score, perplexity, score_continuations
from llmcore.llama.model_load import LoadProgress, check_progress
from llmcore.messages import EngineStats, PrefixInfo
from llmcore.protocol.checks import checked
from llmcore.protocol.commands import RerankCommand

if TYPE_CHECKING:
    from typing_extensions import Unpack


class LLM(Answering):
    """A model in this process.

    Several threads may use it, and several streams may be open at once: they share each step. For a service that survives
    native crashes, use `AsyncLLM(isolated=True)` or the HTTP service. A forked child cannot use a model that was loaded before
    the fork: load in each process.

    Args:
        model: a GGUF file, or the name of a model that `llmcore pull` fetched: a known one ("llama-3.2-1b-instruct"), or of a
            repository ("owner/name:Q4_K_M"). By default, the default model. A path that exists wins. `model_path=` is the same.
        pull: fetch the model if it is not here; nothing else uses the network.
        progress: called with 0..1 while loading; returning False stops it.
        **options: any option of EngineConfig, such as n_ctx=4096, threads=2, n_slots=8.

    Raises ModelMissingError, ModelError or a subclass such as InsufficientMemoryError, ConfigError; InvalidRequestError for
    an unknown option.

    >>> with LLM() as llm:                                                              # doctest: +SKIP
    ...     print(llm.chat([{"role": "user", "content": "Hello!"}]))
    ...     for piece in llm.generate("Once upon a time", max_tokens=32, stream=True):
    ...         print(piece, end="", flush=True)
    """

    def __init__(
        self,
        model: str | bytes | os.PathLike[str] | None = None,
        *,
        progress: LoadProgress | None = None,
        pull: bool = False,
        **options: Unpack[EngineOptions],
    ) -> None:
        check_progress(progress)
        self._local = LocalEngine(engine_config(model, options, pull=pull), progress=progress)
        self.engine = self._local.engine
        self.model = self.engine.model
        self.default_sampling = model_sampling(self.model.path, self.model.metadata)
        self._description = describe(self.engine)

    def close(self) -> None:
        """Frees the model, after the step that another thread computes. Open streams end with ClosedError. Idempotent. Does
        nothing in a process that was forked from this one."""
        self._local.close()

    def __repr__(self) -> str:
        return f"LLM({self._description}{', closed' if self._local.is_closed else ''})"

    def __enter__(self) -> LLM:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- Tokens and vectors -------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text; see Model.tokenize."""
        return self.model.tokenize(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int], *, unparse_special: bool = False) -> str:
        """Text of tokens; see Model.detokenize."""
        return self.model.detokenize(tokens, unparse_special=unparse_special)

    @overload
    def embed(
        self,
        texts: str | Sequence[str | Sequence[int]],
        *,
        dimensions: int | None = ...,
        normalize: bool = ...,
        truncate: bool = ...,
        pooling: None = ...,
    ) -> Vectors: ...
    @overload
    def embed(  # type: ignore[overload-overlap]  # a str is a sequence of str
        self, texts: str, *, normalize: bool = ..., truncate: bool = ..., pooling: Literal["none"]
    ) -> Vectors: ...
    @overload
    def embed(
        self,
        texts: Sequence[str | Sequence[int]],
        *,
        normalize: bool = ...,
        truncate: bool = ...,
        pooling: Literal["none"],
    ) -> list[Vectors]: ...
    def embed(
        self,
        texts: str | Sequence[str | Sequence[int]],
        *,
        dimensions: int | None = None,
        normalize: bool = True,
        truncate: bool = False,
        pooling: Literal["none"] | None = None,
    ) -> Vectors | list[Vectors]:
        """Embeddings of texts, or of token ids: float32[n_texts, n_embd], or float32[n_embd] for a single text. One call with many
        texts is cheaper than many calls.

        Args:
            dimensions: length to cut the vectors to, if the option embed_dimensions says that the model was trained for it.
            normalize: make them unit vectors.
            truncate: cut a text that is too long for the model, instead of raising ContextLengthError.
            pooling: "none" returns the vectors of single tokens, float32[n_tokens, n_embd] for each text, of any model. They are
                computed in a context of their own, which the first such call opens.

        Raises UnsupportedError if the model has no embeddings, ContextLengthError for a text that is too long.
        """
        given = (texts,) if isinstance(texts, str) else texts
        rows = embed(self._local, given, dimensions=dimensions, normalize=normalize, truncate=truncate, pooling=pooling)
        return rows[0] if isinstance(texts, str) else rows

    def rerank(self, query: str, documents: Sequence[str]) -> npt.NDArray[np.float32]:
        """Scores how well each document answers the query, on the model's own scale: float32[n_documents]. For models with
        pooling "rank". Raises the errors of embed()."""
        wanted = checked(RerankCommand(0, query, sequence_argument(documents, "documents")))
        return self._local.compute(lambda jobs, id: jobs.submit_pairs(id, wanted.query, wanted.documents))[:, 0]

    # --- Log-probabilities --------------------------------------------------------------------------------------------

    @overload
    def score(  # type: ignore[overload-overlap]
        self, prompt: str | Sequence[int], continuations: str
    ) -> Score: ...
    @overload
    def score(
        self, prompt: str | Sequence[int], continuations: Sequence[str] | Sequence[Sequence[int]]
    ) -> list[Score]: ...
    def score(
        self, prompt: str | Sequence[int], continuations: str | Sequence[str] | Sequence[Sequence[int]]
    ) -> Score | list[Score]:
        """Returns the log-probabilities of each continuation's tokens after the prompt, and their sum (Score.total), in order;
        for a single text, one Score. The prompt is computed once for all of them.

        Prompt and continuation are tokenized as one text, as the model would read it. Where a token spans both, it is scored:
        "is " with "it" scores " it". Token ids are taken as they are; for a chat, those of `tokenize(render(messages),
        add_special=False, parse_special=True)`.

        Raises InvalidRequestError (naming the argument), ContextLengthError, OverloadedError.
        """
        if isinstance(continuations, str):
            return score_continuations(self._local, prompt, (continuations,), "continuations")[0]
        several = sequence_argument(continuations, "continuations")
        return score_continuations(self._local, prompt, several, "continuations")

    def perplexity(self, text: str | Sequence[int]) -> float:
        """Returns exp(-mean log-probability) of the tokens of a text from the second on. A text longer than the context is computed
        in windows that overlap by half. Raises InvalidRequestError."""
        return perplexity(self._local, text)

    def beam_search(
        self,
        prompt: str | Sequence[int] | Messages,
        width: int = 4,
        max_tokens: int = 64,
        *,
        length_penalty: float = 1.0,
        stop_token_ids: Sequence[int] = (),
        **options: Unpack[PromptOptions],
    ) -> list[Beam]:
        """Searches for the most probable answers to a text, token ids or messages. Returns at most `width` beams, the best
        first. It is slow: each token of each beam is a request of its own, though one step computes them together.

        Args:
            width: number of beams that are followed at a time, at most 10.
            length_penalty: a beam's score is its log-probability divided by its length to this power; 0 takes the sum, which
                favours short answers.
            **options: of messages, as for chat(): tools, chat_template_kwargs …

        Raises InvalidRequestError (naming the argument), ContextLengthError, OverloadedError.
        """
        source = any_prompt(prompt, dict(options))
        penalty = number_above(length_penalty, "length_penalty", -INT32_MAX)
        ends, n = token_ids(stop_token_ids, "stop_token_ids"), whole_number(max_tokens, "max_tokens", 1)
        n_beams = whole_number(width, "width", 1, WIDTH_MAX)
        tokens = self._local.locked(lambda engine: engine.read(source)).tokens
        return BeamSearch(self._local, tokens, width=n_beams, length_penalty=penalty, ends=ends).run(n)

    # --- Prompts and their cells --------------------------------------------------------------------------------------

    def render(self, messages: Messages, **options: Unpack[PromptOptions]) -> str:
        """Returns the text that the model's chat template makes of messages: the prompt of chat(). Raises InvalidRequestError."""
        given: dict[str, Any] = dict(options)
        prompt = chat_prompt(messages, given)
        refuse_others(given, PromptOptions.__annotations__)
        return self._local.locked(lambda engine: engine.render(prompt))

    def pin(self, name: str, prompt: str | Sequence[int] | Messages, **options: Unpack[PromptOptions]) -> PrefixInfo:
        """Computes a beginning of prompts (a text, token ids, or the first messages of conversations) and keeps its cells until
        unpin(name). Another prefix of that name is replaced. At most half of the context can be pinned.

        Raises InvalidRequestError (naming the argument), ContextLengthError, OverloadedError.
        """
        return pin(self._local, name, any_prompt(prompt, dict(options)))

    def unpin(self, name: str) -> None:
        """Unpins a prefix, whose cells can be evicted then. Raises PrefixMissingError."""
        unpin(self._local, name)

    def pins(self) -> list[PrefixInfo]:
        """Returns the pinned prefixes, with their numbers of tokens, in order of name."""
        return pins(self._local)

    def save(
        self,
        prompt: str | Sequence[int] | Messages,
        path: str | bytes | os.PathLike[str],
        **options: Unpack[PromptOptions],
    ) -> int:
        """Writes a conversation (or a text, or token ids) and its computed cells to a file, for load(). Returns the number of
        tokens. What is not in the cache is computed first. The file holds the prompt; only its owner can read it.

        Raises InvalidRequestError (naming the argument), ContextLengthError, OSError.
        """
        return save_prompt(self._local, any_prompt(prompt, dict(options)), path)

    def load(self, path: str | bytes | os.PathLike[str]) -> str | list[int] | list[dict[str, Any]]:
        """Takes the cells of a file of save() into the cache, where they stay until others need the room, and returns what was
        saved: messages, a text or token ids. A prompt that begins so need not be computed up to there.

        Raises StateFileError for a file that is damaged or belongs to another model or other KV types, ContextLengthError if it
        does not fit, OSError; nothing changes then. The digest finds damage, not malice: load files that you trust.
        """
        return load_prompt(self._local, path)

    def stats(self) -> EngineStats:
        """Returns counts since the start, and the present state: steps, tokens computed and found in the cache, cells in use …"""
        return self._local.locked(lambda engine: engine.stats())
