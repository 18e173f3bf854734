"""Schemas that helpers of SDKs wrote are accepted: pydantic's and openai's (Python), Zod's and openai's (JavaScript), LiveKit's.

They were recorded from pydantic 2.14, openai 3.57 and 6.49, Zod 4.6 and livekit-agents 1.8, of models with bounds, formats and
patterns: tests/data/sdk_schemas.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmcore.grammar.constraint import Constraints
from llmcore.messages import JsonSchema

FOLDER = Path(__file__).parent.parent / "data" / "sdk_schemas"
RECORDED: dict[str, Any] = {
    name: each for path in sorted(FOLDER.glob("*.json")) for name, each in json.loads(path.read_text("utf-8")).items()
}

# Keywords of them that no grammar holds.
RELAXED = {"format", "uniqueItems", "propertyNames", "pattern"}


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not strict"])
@pytest.mark.parametrize("name", RECORDED)
def test_schemas_of_sdks_are_accepted(compiled: Constraints, name: str, strict: bool) -> None:
    schema = json.dumps(RECORDED[name]["schema"]).encode()
    held = compiled.hold(schema, strict=strict)
    assert {path.rpartition(".")[2] for path in held.relaxed} <= RELAXED
    matcher = compiled.matcher(JsonSchema(schema, strict=strict))
    matcher.fill()
    assert matcher.mask.any()


def test_patterns_are_relaxed_for_durations_only(compiled: Constraints) -> None:
    """Zod's pattern of a duration has look-around within a group; its format is held."""
    for each in RECORDED.values():
        relaxed = compiled.hold(json.dumps(each["schema"]).encode(), strict=True).relaxed
        assert [path for path in relaxed if path.endswith(".pattern")] in ([], ["properties.dur.pattern"])
