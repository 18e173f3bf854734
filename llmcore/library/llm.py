"""LLM, the library's main class: a model in this process, ready for prompts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from llmcore.library.answering import Answering
from llmcore.library.arguments import (
    sequence_argument,
)
from llmcore.library.engine_options import engine_config
from llmcore.library.local_engine import LocalEngine
from llmcore.library.options import EngineOptions
from llmcore.library.sampling_defaults import default_sampling
from llmcore.llama.model_load import LoadProgress
from llmcore.protocol.checks import checked
from llmcore.protocol.commands import EmbedCommand, RerankCommand

if TYPE_CHECKING:
    from typing_extensions import Unpack


class LLM(Answering):
    """A model in this process.

    Several threads may use it, and several streams may be open at once: they share each step. For a service that survives
    native crashes, use `AsyncLLM(isolated=True)` or the HTTP service. A forked child cannot use a model that was loaded before
    the fork: load in each process.

    Args:
        model: a GGUF file; by default, the model that `llmcore pull` fetched. `model_path=` is the same.
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
        **options: Unpack[EngineOptions],
    ) -> None:
        self._local = LocalEngine(engine_config(model, options), progress=progress)
        self.engine = self._local.engine
        self.model = self.engine.model
        self.default_sampling = default_sampling(self.model.metadata)

    def close(self) -> None:
        """Frees the model, after the step that another thread computes. Open streams end with ClosedError. Idempotent. Does
        nothing in a process that was forked from this one."""
        self._local.close()

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

    def embed(
        self, texts: str | Sequence[str | Sequence[int]], *, dimensions: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Embeddings of texts, or of token ids, as unit vectors: float32[n_texts, n_embd], or float32[n_embd] for a single text.
        One call with many texts is cheaper than many calls.

        Args:
            dimensions: length to cut the vectors to, if the option embed_dimensions says that the model was trained for it.

        Raises UnsupportedError if the model has no embeddings, ContextLengthError for a text that is too long.
        """
        several = (texts,) if isinstance(texts, str) else sequence_argument(texts, "texts")
        wanted = checked(EmbedCommand(0, several, dimensions))
        rows = self._local.compute(
            lambda jobs, id: jobs.submit(id, wanted.texts, dimensions=wanted.dimensions, param="texts")
        )
        return cast("npt.NDArray[np.float32]", rows[0]) if isinstance(texts, str) else rows

    def rerank(self, query: str, documents: Sequence[str]) -> npt.NDArray[np.float32]:
        """Scores how well each document answers the query, on the model's own scale: float32[n_documents]. For models with
        pooling "rank". Raises the errors of embed()."""
        wanted = checked(RerankCommand(0, query, sequence_argument(documents, "documents")))
        return self._local.compute(lambda jobs, id: jobs.submit_pairs(id, wanted.query, wanted.documents))[:, 0]
