"""Compiles grammars of tool calls: the template's syntax, with each argument's schema in its place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from llguidance import LLMatcher

from llmcore.errors import InvalidRequestError
from llmcore.grammar.call_grammar import CallGrammar
from llmcore.grammar.call_lark import CallLark, require_calls
from llmcore.grammar.gbnf_parser import GbnfParser
from llmcore.grammar.schema import HeldSchema
from llmcore.llama.tool_schema import FIRST_STAND_IN, ToolArgument
from llmcore.log import event
from llmcore.messages import Constraint

logger = logging.getLogger(__name__)

# Keywords that are left out of a schema of a tool that is not strict, one by one, before all of them are.
_N_LEFT_OUT_MAX = 16
_ANY_OBJECT, _ANY_VALUE = b'{"type": "object"}', b"{}"

# The name of the other grammar, if an answer may be calls or content.
_CONTENT = "content"


class Hold(Protocol):
    def __call__(self, schema: bytes, *, strict: bool) -> HeldSchema: ...


class CallCompiler:
    """Compiles grammars of calls for one model.

    Args:
        hold: returns a schema as it is held; raises InvalidRequestError.
        content: returns a constraint as a grammar in llguidance's form.
        build: compiles a grammar in llguidance's form that is as large as so many constraints.
        controls: ids of the tokens that are not text, by their texts.
    """

    def __init__(
        self,
        hold: Hold,
        content: Callable[[Constraint], dict[str, object]],
        build: Callable[[str, int], LLMatcher],
        controls: Mapping[str, int],
    ) -> None:
        self._hold = hold
        self._content = content
        self._build = build
        self._controls = controls

    def compile(self, grammar: CallGrammar) -> LLMatcher:
        """Raises InvalidRequestError, naming the tool, if the schema of a strict one cannot be held."""
        rules = GbnfParser(grammar.source, 0, lambda _: None).parse()
        if grammar.is_optional:
            require_calls(rules)
        n = len(grammar.arguments)
        used = {each: text for each, text in self._controls.items() if each in grammar.source}
        written = CallLark(rules, first=FIRST_STAND_IN, n_arguments=n, controls=used)
        schemas = {i: self._schema(grammar.arguments[i]) for i in written.used()}
        alternative = f"@{_CONTENT}" if grammar.content is not None else ""
        grammars: list[dict[str, object]] = [
            {"name": "calls", "lark_grammar": written.lark(schemas, alternative=alternative)}
        ]
        if grammar.content is not None:
            grammars.append({"name": _CONTENT, **self._content(grammar.content)})
        native = self._build(msgspec.json.encode({"grammars": grammars}).decode(), 1 + len(schemas))
        if native.is_error():
            problem = native.get_error().partition("\n")[0]
            raise InvalidRequestError(f"tools: the grammar of calls cannot be compiled: {problem}", param="tools")
        return native

    def _schema(self, argument: ToolArgument) -> str:
        """Returns the schema of an argument as it is held. If the tool is not strict, that is as far as it can be held."""
        schema = argument.schema
        for _ in range(_N_LEFT_OUT_MAX):
            try:
                return self._hold(schema, strict=argument.is_strict).text
            except InvalidRequestError as error:
                if argument.is_strict:
                    raise _refusal(argument, error) from None
                left = without(schema, (error.param or "").removeprefix("constraint").removeprefix("."))
                _report(argument, error, left is not None)
                if left is None:
                    break
                schema = left
        return self._hold(_ANY_OBJECT if argument.parameter is None else _ANY_VALUE, strict=False).text


def without(schema: bytes, path: str) -> bytes | None:
    """Returns a schema without the value at a path ("properties.a.not"); None if there is no such value."""
    try:
        value = msgspec.json.decode(schema)
    except msgspec.DecodeError:
        return None
    return msgspec.json.encode(value) if path and _remove(value, path) else None


def _remove(value: Any, path: str) -> bool:
    """Removes the value at a path. The names in it may contain dots themselves."""
    if isinstance(value, list):
        head, _, rest = path.partition(".")
        index = int(head) if head.isdecimal() else len(value)
        if index < len(value) and not rest:
            value[index] = {}
            return True
        return index < len(value) and _remove(value[index], rest)
    if not isinstance(value, dict):
        return False
    if path in value:
        del value[path]
        return True
    return any(path.startswith(f"{key}.") and _remove(inner, path[len(key) + 1 :]) for key, inner in value.items())


def _field(argument: ToolArgument) -> str:
    return f"tools[{argument.tool}].function.parameters"


def _problem(argument: ToolArgument, error: InvalidRequestError) -> str:
    """Returns what is wrong with a schema. Its places are those of the tool's parameters."""
    problem = error.message.removeprefix("the schema cannot be honoured: ").replace("#/$defs/parameters", "#")
    if argument.parameter is not None and " at #" in problem and "#/properties" not in problem:
        problem = problem.replace(" at #", f" at #/properties/{argument.parameter}", 1)
    return problem


def _refusal(argument: ToolArgument, error: InvalidRequestError) -> InvalidRequestError:
    field, problem = _field(argument), _problem(argument, error)
    return InvalidRequestError(
        f"{field}: {argument.name!r} is strict, and its schema cannot be honoured: {problem}", param=field
    )


def _report(argument: ToolArgument, error: InvalidRequestError, is_partial: bool) -> None:
    held = "as far as possible" if is_partial else "as any object"
    event(logger, logging.INFO, "tool_schema_relaxed", tool=argument.tool, reason=_problem(argument, error), held=held)
