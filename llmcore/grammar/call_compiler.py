"""Compiles grammars of tool calls: the template's syntax, with each argument's schema in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from llguidance import LLMatcher

from llmcore.errors import InvalidRequestError
from llmcore.grammar.call_grammar import CallGrammar
from llmcore.grammar.call_lark import CallLark, require_calls
from llmcore.grammar.call_texts import hold_texts
from llmcore.grammar.compiler_problem import in_words
from llmcore.grammar.gbnf_parser import GbnfParser
from llmcore.grammar.schema import HeldSchema
from llmcore.llama.tool_schema import FIRST_STAND_IN, TextParameter, ToolArgument


class Hold(Protocol):
    def __call__(self, schema: bytes, *, strict: bool, lenient: bool = False) -> HeldSchema: ...


class CompiledCalls(NamedTuple):
    """`relaxed` has the paths of keywords that are not held: "tools[0].function.parameters.properties.a.not"."""

    native: LLMatcher
    relaxed: tuple[str, ...]


class CallCompiler:
    """Compiles grammars of calls for one model.

    Args:
        hold: returns a schema as it is held; raises InvalidRequestError.
        build: compiles a grammar in llguidance's form that contains so many schemas.
        controls: ids of the tokens that are not text, by their texts.
    """

    def __init__(
        self,
        hold: Hold,
        build: Callable[[str, int], LLMatcher],
        controls: Mapping[str, int],
    ) -> None:
        self._hold = hold
        self._build = build
        self._controls = controls

    def compile(self, grammar: CallGrammar) -> CompiledCalls:
        """Raises InvalidRequestError, naming the tool, if its schema cannot be held. If the tool is not strict, keywords that no
        grammar holds are left out."""
        rules = GbnfParser(grammar.source, 0, lambda _: None).parse()
        if grammar.is_optional:
            require_calls(rules)
        free = hold_texts(rules, grammar.texts)
        controls = {text: token for text, token in self._controls.items() if text in grammar.source}
        lark = CallLark(rules, first=FIRST_STAND_IN, n_arguments=len(grammar.arguments), controls=controls)
        schemas, relaxed = {}, list[str]()
        for index in lark.used():
            argument = grammar.arguments[index]
            held = self._held(argument)
            schemas[index] = held.text
            relaxed += [f"{_field(argument)}.{_inside(argument, path)}" for path in held.relaxed]
        if not schemas:  # arguments in a notation of the template's own
            relaxed += dict.fromkeys(_field(argument) for argument in grammar.arguments)
        relaxed += [f"{_field(each)}.properties.{each.parameter}" for each in free]
        native = self._build(LLMatcher.grammar_from_lark(lark.lark(schemas)), 1 + len(schemas))
        if native.is_error():
            problem = f"tools: the grammar of the calls cannot be used: {in_words(native.get_error())}"
            raise InvalidRequestError(problem, param="tools")
        return CompiledCalls(native, tuple(relaxed))

    def _held(self, argument: ToolArgument) -> HeldSchema:
        try:
            return self._hold(argument.schema, strict=argument.is_strict, lenient=not argument.is_strict)
        except InvalidRequestError as error:
            raise _refusal(argument, error) from None


def _field(argument: ToolArgument | TextParameter) -> str:
    return f"tools[{argument.tool}].function.parameters"


def _inside(argument: ToolArgument, path: str) -> str:
    """Returns a path in an argument's schema as one in the schema of all parameters."""
    if argument.parameter is None:
        return path
    moved = path.removeprefix("$defs.parameters.")
    return moved if moved != path else f"properties.{argument.parameter}.{path}"


def _refusal(argument: ToolArgument, error: InvalidRequestError) -> InvalidRequestError:
    """Returns the error about a tool's schema. It names its places as those of the parameters."""
    problem = error.message.removeprefix("the schema cannot be honoured: ")
    if argument.parameter is not None:
        moved = problem.replace("#/$defs/parameters/", "#/")
        problem = moved if moved != problem else problem.replace("at #", f"at #/properties/{argument.parameter}", 1)
    field, kind = _field(argument), " strict" if argument.is_strict else ""
    return InvalidRequestError(
        f"{field}: the{kind} schema of {argument.name!r} cannot be honoured: {problem}", param=field
    )
