"""The field `options` of Ollama's requests."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llmcore.sampling import MAX_SEED

from ..http.hints import hint
from .generation_fields import GenerationFields
from .sampling_fields import INT32_MAX

# Ollama takes floats for whole numbers, and clients send them (40.0). whole() makes integers of them.
TokenCount = Annotated[int, Meta(ge=-2, le=INT32_MAX)] | Annotated[float, Meta(ge=-2, le=INT32_MAX)]
TopK = Annotated[int, Meta(ge=-1, le=INT32_MAX)] | Annotated[float, Meta(ge=-1, le=INT32_MAX)]
Mode = Annotated[int, Meta(ge=0, le=2)] | Annotated[float, Meta(ge=0, le=2)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[float, Meta(ge=-(2**63), le=2**63 - 1)]
Ignored = Annotated[Any, hint()]


def whole(value: float | None) -> int | None:
    """Returns a number without its fraction, as Ollama reads it."""
    return None if value is None else int(value)


class OllamaOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Null is the same as absent. Options that are absent have the defaults of /v1/chat/completions."""

    num_predict: Annotated[TokenCount, Meta(description="longest answer in tokens; 0 and less is no limit")] | None = (
        None
    )
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_k: Annotated[TopK, Meta(description="most probable tokens to keep; 0 and less is off")] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repeat_last_n: Annotated[TopK, Meta(description="0 is off, -1 the context")] | None = None
    repeat_penalty: Annotated[float, Meta(ge=1e-30, le=100)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    mirostat: Mode | None = None
    mirostat_tau: Annotated[float, Meta(ge=0, le=100)] | None = None
    mirostat_eta: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[Seed, Meta(description="-1 draws one")] | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None

    # How Ollama loads the model and computes. This service has loaded it, with options of its own.
    num_ctx: Ignored = None
    num_batch: Ignored = None
    num_gpu: Ignored = None
    main_gpu: Ignored = None
    num_thread: Ignored = None
    num_keep: Ignored = None
    draft_num_predict: Ignored = None
    use_mmap: Ignored = None
    use_mlock: Ignored = None
    numa: Ignored = None
    low_vram: Ignored = None
    f16_kv: Ignored = None
    logits_all: Ignored = None
    vocab_only: Ignored = None
    embedding_only: Ignored = None
    # Ollama itself no longer has these.
    penalize_newline: Ignored = None
    tfs_z: Ignored = None

    @property
    def max_tokens(self) -> int | None:
        """Longest answer in tokens; None is up to the end of the context."""
        n = whole(self.num_predict) or 0
        return n if n > 0 else None

    def generation_fields(self) -> GenerationFields:
        """Returns the options as fields of /v1/chat/completions."""
        top_k, seed = whole(self.top_k), whole(self.seed)
        return GenerationFields(
            temperature=self.temperature,
            top_k=None if top_k is None else max(top_k, 0),
            top_p=self.top_p,
            min_p=self.min_p,
            typical_p=self.typical_p,
            repeat_last_n=whole(self.repeat_last_n),
            repeat_penalty=self.repeat_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            mirostat=whole(self.mirostat),
            mirostat_tau=self.mirostat_tau,
            mirostat_eta=self.mirostat_eta,
            seed=None if seed in (None, -1) else seed % (MAX_SEED + 1),
            stop=self._stop_strings(),
        )

    def _stop_strings(self) -> list[str] | None:
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [each for each in given if each] or None
