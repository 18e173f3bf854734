"""Answers of the default model by schemas that once broke: 30 seeds each, all valid, and none with more than the schema names."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from llmcore.engine.engine import Engine
from llmcore.messages import JsonSchema
from llmcore.sampling import SamplingParams
from tests.engine.engine_requests import chat, request, run

N_SEEDS = 30
ASK = chat(("user", "Invent something, as JSON."))

CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}, "n": {"type": "integer"}},
    "required": ["city"],
}


def text(pattern: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"s": {"type": "string", "pattern": pattern, "maxLength": 8}},
        "required": ["s"],
    }


@pytest.mark.parametrize(
    "schema",
    [
        CITY,
        {"allOf": [CITY, {"properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}]},
        {"type": "object", "properties": {"pet": {"anyOf": [CITY, {"type": "null"}]}}, "required": ["pet"]},
        {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        {"type": "integer", "multipleOf": 5, "minimum": -10, "exclusiveMaximum": 100},
        {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True},
        {"type": "object", "propertyNames": {"enum": ["x", "y"]}, "additionalProperties": {"type": "boolean"}},
        text("^.{1,40}$"),
        text('^"[a-z]"$'),
        text(r"^[\w.\-\/]+$"),
        text("^{$"),
        text("^é+$"),
        text("^😀+$"),
        text(r"^(?!.*\.\.)[a-z.]+$"),
    ],
    ids=lambda schema: json.dumps(schema)[:60],
)
def test_answers_hold_what_their_schema_says(engine: Engine, schema: dict[str, Any]) -> None:
    constraint = JsonSchema(json.dumps(schema).encode())
    requests = [
        request(
            str(seed),
            ASK,
            constraint=constraint,
            sampling=SamplingParams(seed=seed, temperature=1.0),
            max_tokens=120,
        )
        for seed in range(N_SEEDS)
    ]
    answers = run(engine, *requests)
    finished = [answer for answer in answers.values() if answer.reason == "stop"]
    assert len(finished) >= 0.9 * N_SEEDS
    for answer in finished:
        value = json.loads(answer.text)
        jsonschema.validate(value, {**schema, "uniqueItems": False})
        assert _digits(answer.text) <= 18 + 1 + 9
        if isinstance(value, dict) and "properties" in schema:
            assert set(value) <= set(schema["properties"])


def _digits(answer: str) -> int:
    """The most characters of a number in an answer, without its sign."""
    return max(
        (len(each) for each in "".join(c if c.isdigit() or c == "." else " " for c in answer).split()), default=0
    )
