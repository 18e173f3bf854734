"""Compiles grammars of tool calls: the template's syntax, with each argument's schema in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from llguidance import LLMatcher

from llmcore.errors import InvalidRequestError
from llmcore.grammar.call_grammar import CallGrammar
from llmcore.grammar.call_lark import CallLark, require_calls
from llmcore.grammar.call_texts import HeldTexts, hold_texts
from llmcore.grammar.compiler_problem import in_words
from llmcore.grammar.gbnf_parser import GbnfParser
from llmcore.grammar.schema import HeldSchema
from llmcore.grammar.text_patterns import text_patterns
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
        compiled = self._attempt(grammar, holds_texts=True)
        if compiled.native.is_error() and grammar.texts:  # text and mark are one lexeme, which may be too complex
            compiled = self._attempt(grammar, holds_texts=False)
        if compiled.native.is_error():
            problem = f"tools: the grammar of the calls cannot be used: {in_words(compiled.native.get_error())}"
            raise InvalidRequestError(problem, param="tools")
        return compiled

    def _attempt(self, grammar: CallGrammar, *, holds_texts: bool) -> CompiledCalls:
        rules = GbnfParser(grammar.source, 0, lambda _: None).parse()
        if grammar.is_optional:
            require_calls(rules)
        controls = {text: token for text, token in self._controls.items() if text in grammar.source}
        texts = HeldTexts()
        if holds_texts:
            texts = hold_texts(rules, grammar.texts, _patterns, lambda mark: any(each in mark for each in controls))
        lark = CallLark(
            rules,
            first=FIRST_STAND_IN,
            n_arguments=len(grammar.arguments),
            controls=controls,
            expressions=texts.expressions,
        )
        schemas, relaxed = {}, list[str]()
        for index in lark.used():
            argument = grammar.arguments[index]
            held = self._held(argument)
            schemas[index] = held.text
            relaxed += [f"{_field(argument)}.{_inside(argument, path)}" for path in held.relaxed]
        if not schemas:  # arguments in a notation of the template's own
            relaxed += dict.fromkeys(_field(argument) for argument in grammar.arguments)
        relaxed += [path for each in grammar.texts for path in _relaxed_of(each, is_held=each in texts.held)]
        native = self._build(LLMatcher.grammar_from_lark(lark.lark(schemas)), 1 + len(schemas) + len(texts.expressions))
        return CompiledCalls(native, tuple(relaxed))

    def _held(self, argument: ToolArgument) -> HeldSchema:
        try:
            return self._hold(argument.schema, strict=argument.is_strict, lenient=not argument.is_strict)
        except InvalidRequestError as error:
            raise _refusal(argument, error) from None


def _patterns(text: TextParameter) -> Sequence[str]:
    """Returns the expressions for a text. Raises InvalidRequestError, naming the tool, if its pattern cannot be held."""
    if not text.schema:
        return ()
    try:
        return text_patterns(text.schema, is_strict=text.is_strict).sources
    except InvalidRequestError as error:
        raise _refusal(text, error) from None


def _relaxed_of(text: TextParameter, *, is_held: bool) -> list[str]:
    """Returns the paths of what is not held of a text."""
    path = f"{_field(text)}.properties.{text.parameter}"
    if is_held and not text.values:
        return [f"{path}.{each}" for each in text_patterns(text.schema, is_strict=text.is_strict).relaxed]
    return [] if is_held or not text.is_restricted else [path]


def _field(argument: ToolArgument | TextParameter) -> str:
    return f"tools[{argument.tool}].function.parameters"


def _inside(argument: ToolArgument, path: str) -> str:
    """Returns a path in an argument's schema as one in the schema of all parameters."""
    if argument.parameter is None:
        return path
    moved = path.removeprefix("$defs.parameters.")
    return moved if moved != path else f"properties.{argument.parameter}.{path}"


def _refusal(argument: ToolArgument | TextParameter, error: InvalidRequestError) -> InvalidRequestError:
    """Returns the error about a tool's schema. It names its places as those of the parameters."""
    problem = error.message.removeprefix("the schema cannot be honoured: ")
    if argument.parameter is not None:
        moved = problem.replace("#/$defs/parameters/", "#/")
        problem = moved if moved != problem else problem.replace("at #", f"at #/properties/{argument.parameter}", 1)
    field, kind = _field(argument), " strict" if argument.is_strict else ""
    return InvalidRequestError(
        f"{field}: the{kind} schema of {argument.name!r} cannot be honoured: {problem}", param=field
    )
