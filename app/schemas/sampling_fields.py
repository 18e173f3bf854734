"""llmcore's own request fields for sampling, beyond OpenAI's; their names are llama-server's."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

INT32_MAX = 2**31 - 1

SequenceBreaker = Annotated[str, Meta(min_length=1, max_length=64)]


class SamplingFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Null is the same as absent: llmcore.sampling.SamplingParams has the defaults."""

    top_k: (
        Annotated[int, Meta(ge=-1, le=INT32_MAX, description="most probable tokens to keep; 0 and -1 are off")] | None
    ) = None
    min_p: Annotated[float, Meta(ge=0, le=1, description="of the best one's probability; 0 is off")] | None = None
    typical_p: Annotated[float, Meta(ge=0, le=1, description="locally typical sampling; 1 is off")] | None = None
    top_n_sigma: (
        Annotated[float, Meta(ge=0, le=1e6, description="standard deviations below the best logit; 0 is off")] | None
    ) = None
    xtc_probability: Annotated[float, Meta(ge=0, le=1, description="of leaving out the top choices")] | None = None
    xtc_threshold: Annotated[float, Meta(ge=0, le=1, description="from which probability on they are some")] | None = (
        None
    )
    repeat_penalty: Annotated[float, Meta(ge=1e-30, le=100, description="over prompt and answer; 1 is off")] | None = (
        None
    )
    repetition_penalty: (
        Annotated[float, Meta(ge=1e-30, le=100, description="another name of repeat_penalty, as in vLLM")] | None
    ) = None
    repeat_last_n: (
        Annotated[int, Meta(ge=-1, le=INT32_MAX, description="tokens that it looks back at; -1 is the context")] | None
    ) = None
    dry_multiplier: Annotated[float, Meta(ge=0, le=100, description="penalty on repeated runs; 0 is off")] | None = None
    dry_base: Annotated[float, Meta(ge=1, le=100)] | None = None
    dry_allowed_length: Annotated[int, Meta(ge=0, le=INT32_MAX)] | None = None
    dry_penalty_last_n: Annotated[int, Meta(ge=-1, le=INT32_MAX)] | None = None
    dry_sequence_breakers: Annotated[list[SequenceBreaker], Meta(max_length=16)] | None = None
    dynatemp_range: Annotated[float, Meta(ge=0, le=100, description="dynamic temperature; 0 is off")] | None = None
    dynatemp_exponent: Annotated[float, Meta(ge=0, le=100)] | None = None
    mirostat: Annotated[int, Meta(ge=0, le=2, description="instead of all truncations; 0 is off")] | None = None
    mirostat_tau: Annotated[float, Meta(ge=0, le=100)] | None = None
    mirostat_eta: Annotated[float, Meta(ge=0, le=1)] | None = None
    ignore_eos: Annotated[bool, Meta(description="go on after a token that ends the answer")] | None = None

    def sampling_arguments(self) -> dict[str, Any]:
        """Returns the given fields as arguments of SamplingParams."""
        arguments = {name: value for name in _ARGUMENTS if (value := getattr(self, name)) is not None}
        if self.top_k == -1:
            arguments["top_k"] = 0
        if self.repetition_penalty is not None:
            arguments["repeat_penalty"] = self.repetition_penalty
        if self.dry_sequence_breakers is not None:
            arguments["dry_sequence_breakers"] = tuple(self.dry_sequence_breakers)
        return arguments


_ARGUMENTS = tuple(
    name for name in SamplingFields.__struct_fields__ if name not in ("ignore_eos", "repetition_penalty")
)
