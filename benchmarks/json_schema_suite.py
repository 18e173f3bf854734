"""Counts how much of JSON Schema's own test suite is held by response_format, or in the arguments of tools.

    git clone https://github.com/json-schema-org/JSON-Schema-Test-Suite
    python -m benchmarks.json_schema_suite JSON-Schema-Test-Suite/tests/draft2020-12 [--tools] [--lenient] [--show wider]

For each instance in the suite's files: *held* if it is valid and can be written, or invalid and cannot; *narrower* if it is valid
and cannot be written (an answer has another form); *wider* if it is invalid and can be written; *refused* if its schema is. An
object counts as writable if it can be written with its properties in some order.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmcore.errors import InvalidRequestError
from llmcore.grammar.call_grammar import CallGrammar
from llmcore.grammar.constraint import Constraints
from llmcore.hub.model_store import default_model_path
from llmcore.llama.model import Model
from llmcore.llama.tool_schema import FIRST_STAND_IN, ToolArgument
from llmcore.messages import JsonSchema

N_ORDERED_MAX = 4  # properties of an object of which all orders are tried


# The form of a call whose arguments are any JSON.
CALL = f'root ::= "<call>" tool-f-schema "</call>"\ntool-f-schema ::= "{FIRST_STAND_IN}"\n'


class Writer:
    """Finds whether a value is an answer that a schema allows, or a call's arguments that it allows."""

    def __init__(self, model: Model, *, calls: bool = False) -> None:
        self._model = model
        self._calls = calls
        self._constraints = Constraints(model)

    def allows(self, schema: JsonSchema, value: Any) -> bool:
        texts = [json.dumps(each, ensure_ascii=False) for each in _orders(value)]
        if not self._calls:
            return any(self._is_answer(schema, text) for text in texts)
        argument = ToolArgument(0, "f", schema.schema, schema.strict)
        return any(self._is_answer(CallGrammar(CALL, False, (argument,)), f"<call>{text}</call>") for text in texts)

    def _is_answer(self, wanted: JsonSchema | CallGrammar, text: str) -> bool:
        matcher = self._constraints.matcher(wanted)
        for token in self._model.tokenize(text, add_special=False):
            if matcher.is_complete:
                return False
            matcher.fill()
            if not int(matcher.mask[token // 32]) >> token % 32 & 1:
                return False
            matcher.accept(token)
        matcher.fill()
        eos = self._model.eos
        return matcher.is_complete or (eos is not None and bool(int(matcher.mask[eos // 32]) >> eos % 32 & 1))


def _orders(value: Any) -> Iterator[Any]:
    if isinstance(value, dict) and 1 < len(value) <= N_ORDERED_MAX:
        yield from (dict(each) for each in itertools.permutations(value.items()))
    else:
        yield value


def outcomes(path: Path, writer: Writer, *, strict: bool) -> Iterator[tuple[str, str]]:
    """Yields the outcome of each instance of the files in a folder, with a line that tells where it stands."""
    for file in sorted(path.glob("*.json")):
        for group in json.loads(file.read_text("utf-8")):
            schema = JsonSchema(json.dumps(group["schema"]).encode(), strict=strict)
            for test in group["tests"]:
                where = f"{file.stem}: {group['description']}: {test['description']}"
                try:
                    is_allowed = writer.allows(schema, test["data"])
                except InvalidRequestError as error:
                    yield "refused", f"{where}: {error.message}"
                    continue
                if is_allowed == test["valid"]:
                    yield "held", where
                else:
                    yield "narrower" if test["valid"] else "wider", where


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="tests/draft2020-12 of the suite")
    parser.add_argument("--tools", action="store_true", help="in the arguments of tools")
    parser.add_argument("--lenient", action="store_true", help="without strict")
    parser.add_argument("--show", choices=["held", "narrower", "wider", "refused"], help="list these instances")
    args = parser.parse_args()
    path = default_model_path()
    if path is None:
        parser.error("the default model is not here: run llmcore pull")
    with Model(path) as model:
        found = list(outcomes(args.folder, Writer(model, calls=args.tools), strict=not args.lenient))
    for outcome, where in found:
        if outcome == args.show:
            print(where)
    counts = Counter(outcome for outcome, _ in found)
    print(", ".join(f"{name} {n} ({n / len(found):.1%})" for name, n in counts.most_common()), f"of {len(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
