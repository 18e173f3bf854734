"""llmcore's own sampling fields, as they reach the engine."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from llmcore.sampling import SamplingParams
from llmcore_app.schemas.sampling_fields import SamplingFields
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import post


async def test_more_sampling_reaches_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    values: dict[str, Any] = {
        "typical_p": 0.9,
        "top_n_sigma": 1.5,
        "xtc_probability": 0.5,
        "xtc_threshold": 0.2,
        "repeat_last_n": -1,
        "dry_multiplier": 0.8,
        "dry_base": 2.0,
        "dry_allowed_length": 3,
        "dry_penalty_last_n": 100,
        "dynatemp_range": 0.5,
        "dynatemp_exponent": 2.0,
        "mirostat": 2,
        "mirostat_tau": 4.0,
        "mirostat_eta": 0.2,
    }
    response = await post(client, **values, dry_sequence_breakers=["a", "b"], ignore_eos=True)
    assert response.status_code == 200, response.text
    request = engine.requests[0]
    assert {name: getattr(request.sampling, name) for name in values} == values
    assert request.sampling.dry_sequence_breakers == ("a", "b")
    assert request.ignore_eos


@pytest.mark.parametrize("field", msgspec.inspect.type_info(SamplingFields).fields, ids=lambda field: field.name)  # type: ignore[attr-defined]
def test_what_a_field_allows_the_engine_takes(field: msgspec.inspect.Field) -> None:
    assert isinstance(field.type, msgspec.inspect.UnionType)
    kind = next(each for each in field.type.types if not isinstance(each, msgspec.inspect.NoneType))
    kind = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
    for name in ("ge", "le"):
        bound = getattr(kind, name, None)
        if bound is not None:
            (taken,) = SamplingFields(**{field.name: bound}).sampling_arguments().items()
            assert getattr(SamplingParams(**dict([taken])), taken[0]) == (
                0 if field.name == "top_k" and bound == -1 else bound
            )
