"""Measures the cost of structured output: eight answers at once, constrained or free, in turns, at a vocabulary of 128,256 tokens.

    python -m benchmarks.structured [--shape 1b] [--tokens 64] [--turns 5] [--write-docs]

The whole engine is measured while all eight answers are active. Weights are random, so any allowed token is drawn: strings in JSON
are gibberish, which is the hard case for a matcher. Forced tokens make an answer faster than a free one; the column of steps has
the cost of a step without that gain. Compiling is listed separately: it happens once for each constraint. Calls of tools
are measured against free answers to the same prompts, and compiling them is without rendering the prompt.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from benchmarks.machine import machine
from benchmarks.make_model import SHAPES, bench_model
from benchmarks.report import write_section
from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.messages import (
    ChatPrompt,
    Constraint,
    Failed,
    Finished,
    GenerateRequest,
    Grammar,
    JsonSchema,
    Piece,
    Regex,
    TokensPrompt,
)
from llmcore.sampling import SamplingParams

N_SEQUENCES, N_PROMPT, N_CTX = 8, 32, 8192
SECTION = "structured"

_PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "full_name": {"type": "string", "maxLength": 40},
        "age_in_years": {"type": "integer", "minimum": 0, "maximum": 150},
        "is_registered": {"type": "boolean"},
        "preferred_contact": {"enum": ["telephone", "electronic mail", "letter"]},
    },
    "required": ["full_name", "age_in_years", "is_registered", "preferred_contact"],
    "additionalProperties": False,
}
# No answer ends before the counted tokens do.
CONSTRAINTS: dict[str, Constraint] = {
    "JSON schema, records": JsonSchema(json.dumps({"type": "array", "items": _PERSON, "minItems": 10_000}).encode()),
    "JSON schema, one long string": JsonSchema(b'{"type": "string", "minLength": 100000}'),
    "regex": Regex(r"([a-z]+ [0-9]{1,4}, ){10000}"),
    "grammar": Grammar('start: list\nlist: "(" (WORD | list) (" " (WORD | list)){10000} ")"\nWORD: /[a-z]{3,8}/'),
}


def _call(parameters: dict[str, Any], n_tools: int = 1) -> ChatPrompt:
    """Returns a prompt whose answer is a call of one of so many tools."""
    tools = [
        {"type": "function", "function": {"name": f"look_up_{i}", "parameters": parameters}} for i in range(n_tools)
    ]
    return ChatPrompt(
        json.dumps([{"role": "user", "content": "Look."}]).encode(),
        tools=json.dumps(tools).encode(),
        tool_choice="required",
    )


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


TOOLS: dict[str, ChatPrompt] = {
    "tool, records": _call(_object(people={"type": "array", "items": _PERSON, "minItems": 10_000})),
    "tool, one long string": _call(_object(text={"type": "string", "minLength": 100_000})),
    "one of 32 tools, records": _call(_object(people={"type": "array", "items": _PERSON, "minItems": 10_000}), 32),
}


@dataclass(frozen=True)
class Rate:
    """Rate of one turn: all eight answers together."""

    tokens_per_s: float
    steps_per_s: float


@dataclass(frozen=True)
class Finding:
    name: str
    tokens_per_s: float  # medians
    tokens_ratio: float  # against free answers in the same turn
    steps_ratio: float
    compile_s: float


def free_of(wanted: Constraint | ChatPrompt | None) -> ChatPrompt | None:
    """Returns what a constrained answer is measured against: a free one to a prompt of the same length."""
    return structs.replace(wanted, tool_choice="none") if isinstance(wanted, ChatPrompt) else None


def turn(engine: Engine, wanted: Constraint | ChatPrompt | None, n_tokens: int, seed: int) -> Rate:
    """Serves eight answers of n_tokens; counts from the first step in which all of them are active."""
    engine.drop_cached_prefixes()
    is_free = wanted is None or (isinstance(wanted, ChatPrompt) and wanted.tool_choice == "none")
    for i in range(N_SEQUENCES):
        tokens = tuple((7919 * (i + 1) * (seed + 1) + 31 * k) % 20_000 for k in range(N_PROMPT))
        engine.submit(
            GenerateRequest(
                request_id=str(i),
                prompt=wanted if isinstance(wanted, ChatPrompt) else TokensPrompt(tokens),
                sampling=SamplingParams(temperature=0.8, top_p=0.95, seed=seed + i),
                max_tokens=n_tokens,
                ignore_eos=is_free,
                constraint=None if isinstance(wanted, ChatPrompt) else wanted,
            )
        )
    seen: set[str] = set()
    began_s, n, n_steps = 0.0, 0, 0
    while engine.has_work:
        outputs = engine.step()
        failed = [each for each in outputs if isinstance(each, Failed)]
        if failed:
            raise RuntimeError(failed[0].message)
        if len(seen) == N_SEQUENCES:
            n_steps += 1
            n += sum(each.n_tokens if isinstance(each, Piece) else 1 for each in outputs)
            if any(isinstance(each, Finished) for each in outputs):
                break  # from here on fewer answers are active
        seen |= {each.request_id for each in outputs if isinstance(each, Piece)}
        began_s = began_s or (time.perf_counter() if len(seen) == N_SEQUENCES else 0.0)
    seconds = time.perf_counter() - began_s
    for i in range(N_SEQUENCES):
        engine.cancel(str(i))
    return Rate(n / seconds, n_steps / seconds)


def measure(path: Path, n_tokens: int, turns: int) -> Iterator[Finding]:
    config = EngineConfig(model_path=str(path), n_ctx=N_CTX, n_slots=N_SEQUENCES, speculation="off")
    with Engine.open(config) as engine:
        engine.warm_up()
        engine.prepare(Regex("[0-9]"))  # makes the tokenizer, once for a model
        compile_s = {}
        for name, constraint in CONSTRAINTS.items():
            began_s = time.perf_counter()
            engine.prepare(constraint)
            compile_s[name] = time.perf_counter() - began_s
        for name, chat in TOOLS.items():
            read = engine.read(chat)
            began_s = time.perf_counter()
            engine.prepare(None, read)
            compile_s[name] = time.perf_counter() - began_s
        all_wanted: dict[str, Constraint | ChatPrompt] = {**CONSTRAINTS, **TOOLS}
        pairs: dict[str, list[tuple[Rate, Rate]]] = {name: [] for name in all_wanted}
        free: list[Rate] = []
        for seed in range(turns):
            free.append(turn(engine, None, n_tokens, seed))
            for name, wanted in all_wanted.items():
                other = free_of(wanted)
                against = free[-1] if other is None else turn(engine, other, n_tokens, seed)
                pairs[name].append((turn(engine, wanted, n_tokens, seed), against))
    yield Finding("free", statistics.median(each.tokens_per_s for each in free), 1.0, 1.0, 0.0)
    for name, found in pairs.items():
        yield Finding(
            name,
            statistics.median(each.tokens_per_s for each, _ in found),
            statistics.median(each.tokens_per_s / other.tokens_per_s for each, other in found),
            statistics.median(each.steps_per_s / other.steps_per_s for each, other in found),
            compile_s[name],
        )


HEADS = ("constraint", "tok/s, 8 answers", "against free", "steps against free", "compiling, ms")


def line(of: Finding) -> str:
    ratios = [f"{of.tokens_ratio:.2f}", f"{of.steps_ratio:.2f}", f"{of.compile_s * 1e3:.1f}"]
    cells = [of.name, f"{of.tokens_per_s:.1f}", *(ratios if of.name != "free" else ["", "", ""])]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="1b", help="of the model, which has random weights")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--turns", type=int, default=5, help="free and constrained answers in turns; medians count")
    parser.add_argument("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    args = parser.parse_args()
    if min(args.tokens, args.turns) < 1:
        parser.error("--tokens, --turns: at least 1")
    parts = [
        f"{machine()}, {time.strftime('%Y-%m-%d')}. Shape {args.shape}, {SHAPES[args.shape].n_vocab:,} tokens.",
        "",
    ]
    parts += ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    print(*parts, sep="\n", flush=True)
    for finding in measure(bench_model(args.shape), args.tokens, args.turns):
        parts.append(line(finding))
        print(parts[-1], flush=True)
    if args.write_docs:
        write_section(SECTION, "\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
