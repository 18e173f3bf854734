"""Compiles constraints on answers for one model's vocabulary, with llguidance, within bounds of time and memory.

Only this module and matcher.py know llguidance. It is not fully typed and reports a grammar's errors as values; here they become
exceptions.
"""

from __future__ import annotations

import functools
import re
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from llmcore.errors import InvalidRequestError
from llmcore.grammar.call_compiler import CallCompiler
from llmcore.grammar.call_grammar import CallGrammar
from llmcore.grammar.compiler_problem import in_words
from llmcore.grammar.gbnf import gbnf_to_lark
from llmcore.grammar.matcher import Matcher
from llmcore.grammar.schema import HeldSchema, hold_schema, read_schema
from llmcore.grammar.schema_fault import locate
from llmcore.llama.ffi.arrays import UInt32Array
from llmcore.llama.handle import BorrowedHandle
from llmcore.llama.model import Model
from llmcore.messages import Constraint, Grammar, JsonObject, JsonSchema, Regex

# Characters of a regular expression or grammar.
TEXT_MAX = 64 * 1024

# Recognizes a grammar in Lark. In GBNF, a rule of that name would begin with "start ::=".
_LARK = re.compile(r"^\s*(%llguidance\b|start\s*:(?!:=))", re.MULTILINE)

# Bounds on the cache of compiled grammars: their number, and the bytes of their sources.
N_CACHED, CACHED_BYTES = 64, 4 * 1024 * 1024

# Part of llguidance's message if it combines two recursive schemas.
_COMBINATION_ERROR = "intersection stack level"

# Keywords that are left out of a lenient schema because the compiler refuses them: each takes a search.
N_LEFT_OUT_MAX = 8

_ANY_OBJECT = b'{"type": "object"}'


def _limits(n_schemas: int = 1) -> LLParserLimits:
    """Returns limits that keep compiling within tens of milliseconds (50k units of fuel per ms) for each of so many schemas, a mask
    too (14k per ms; 20k items per ms), and a matcher within tens of MB (1 to 2 KB per state)."""
    return LLParserLimits(
        initial_lexer_fuel=1_000_000 * min(n_schemas, 16),
        step_lexer_fuel=200_000,
        step_max_items=50_000,
        max_lexer_states=25_000,
        max_grammar_size=200_000 * min(n_schemas, 16),
        verbose_errors=False,
    )


class Constraints:
    """Compiled constraints of one model. Thread-safe."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tokenizer: LLTokenizer | None = None
        self._vocabulary: BorrowedHandle | None = None  # kept alive for the tokenizer
        self._controls: dict[str, int] = {}  # tokens that are not text, by their texts; known with the tokenizer
        self._compiled: OrderedDict[Constraint | CallGrammar, LLMatcher] = OrderedDict()
        self._relaxed: dict[Constraint | CallGrammar, tuple[str, ...]] = {}  # of compiled schemas
        self._lock = threading.Lock()  # guards _compiled and _relaxed
        self._compiling = threading.Lock()
        self._anything: UInt32Array | None = None  # cached

    def is_ready(self, constraint: Constraint | CallGrammar) -> bool:
        """True if a constraint is compiled."""
        with self._lock:
            return constraint in self._compiled

    def prepare(self, constraint: Constraint | CallGrammar) -> None:
        """Compiles a constraint that is not in the cache. The first call also builds the tokenizer (0.4 s for 50k tokens). Raises
        InvalidRequestError, whose `param` is "constraint" or a path below it, or the tool at fault."""
        with self._compiling:
            if self.is_ready(constraint):
                return
            native = self._compile(constraint)
            with self._lock:
                self._compiled[constraint] = native
                while len(self._compiled) > N_CACHED or sum(map(_size, self._compiled)) > CACHED_BYTES:
                    self._relaxed.pop(self._compiled.popitem(last=False)[0], None)

    def matcher(self, constraint: Constraint | CallGrammar) -> Matcher:
        """Returns a new matcher at the beginning of an answer. Compiles the constraint if needed; raises as prepare()."""
        while True:
            with self._lock:
                native = self._compiled.get(constraint)
                if native is not None:
                    self._compiled.move_to_end(constraint)
                    renew = functools.partial(self._renew, constraint, native)
                    param = "tools" if isinstance(constraint, CallGrammar) else "constraint"
                    return Matcher(native.deep_copy(), self._model.n_vocab, renew, self._vocabulary, param=param)
            self.prepare(constraint)

    def _renew(self, constraint: Constraint | CallGrammar, worn: LLMatcher) -> LLMatcher:
        """Compiles a grammar again, not shared with other matchers, and drops the `worn` one from the cache."""
        with self._lock:
            if self._compiled.get(constraint) is worn:
                del self._compiled[constraint]
        with self._compiling:
            return self._compile(constraint)

    def anything(self) -> UInt32Array:
        """Returns the mask of all tokens except those that end an answer. The caller must not write to it."""
        if self._anything is None:
            mask = np.full((self._model.n_vocab + 31) // 32, 0xFFFFFFFF, np.uint32)
            for token in range(self._model.n_vocab):
                if self._model.is_end(token):
                    mask[token // 32] &= ~np.uint32(1 << token % 32)
            self._anything = mask
        return self._anything

    def spell(self, text: str) -> list[int]:
        """Returns tokens that spell a text exactly; tokens that are not text where the text has theirs. Raises InvalidRequestError
        if the vocabulary lacks a byte."""
        tokenizer, tokens = self._ready_tokenizer(), list[int]()
        controls = "|".join(map(re.escape, sorted(self._controls, key=len, reverse=True)))
        for part in re.split(f"({controls})", text) if controls else [text]:
            if part in self._controls:
                tokens.append(self._controls[part])
            elif part:
                spelled = tokenizer.greedy_tokenize(part)
                if b"".join(self._model.token_bytes(each, special=True) for each in spelled) != part.encode():
                    raise InvalidRequestError(f"the model's vocabulary cannot spell {part[:80]!r}", param="messages")
                tokens += spelled
        return tokens

    def close(self) -> None:
        """Drops everything that refers to the model's vocabulary."""
        with self._compiling, self._lock:
            self._compiled.clear()
            self._tokenizer = self._vocabulary = None

    # --- Compiling ----------------------------------------------------------------------------------------------------

    def _compile(self, constraint: Constraint | CallGrammar) -> LLMatcher:
        if isinstance(constraint, CallGrammar):
            self._ready_tokenizer()
            calls = CallCompiler(self.hold, self._build, self._controls).compile(constraint)
            with self._lock:
                self._relaxed[constraint] = calls.relaxed
            return calls.native
        if isinstance(constraint, JsonObject):
            constraint = JsonSchema(_ANY_OBJECT)
        if isinstance(constraint, JsonSchema):
            held, native = self._compile_schema(read_schema(constraint.schema), constraint.strict, constraint.lenient)
            with self._lock:
                self._relaxed[constraint] = held.relaxed
            return native
        text = constraint.pattern if isinstance(constraint, Regex) else constraint.source
        if len(text) > TEXT_MAX:
            raise InvalidRequestError(f"at most {TEXT_MAX} characters are allowed", param="constraint")
        lark = LLMatcher.grammar_from_regex(text) if isinstance(constraint, Regex) else self._lark(constraint)
        native = self._build(lark)
        if native.is_error():
            what = "regular expression" if isinstance(constraint, Regex) else "grammar"
            raise InvalidRequestError(f"the {what} cannot be used: {in_words(native.get_error())}", param="constraint")
        return native

    def hold(self, schema: bytes, *, strict: bool, lenient: bool = False) -> HeldSchema:
        """Returns a schema as it is held, for a grammar that it is a part of. Raises InvalidRequestError, whose `param` is
        "constraint" or a path below it, for a schema that cannot be held.

        Args:
            strict: refuse a `oneOf` with alternatives that may overlap, instead of reading it as `anyOf`.
            lenient: leave out keywords that cannot be held, and tell them in `relaxed`.
        """
        return self._compile_schema(read_schema(schema), strict, lenient)[0]

    def relaxed(self, constraint: Constraint | CallGrammar | None) -> tuple[str, ...]:
        """Returns the paths of keywords of a prepared schema that are not held: "properties.tags.uniqueItems"."""
        with self._lock:
            return () if constraint is None else self._relaxed.get(constraint, ())

    def _compile_schema(self, schema: dict[str, Any], strict: bool, lenient: bool) -> tuple[HeldSchema, LLMatcher]:
        def build(wanted: dict[str, Any]) -> tuple[HeldSchema, LLMatcher]:
            for limits_anything in (True, False):
                held = hold_schema(wanted, strict=strict, lenient=lenient, limits_anything=limits_anything)
                native = self._build(LLMatcher.grammar_from_json_schema(held.text))
                if _COMBINATION_ERROR not in native.get_error():
                    break
            return held, native

        def problem_of(wanted: dict[str, Any]) -> str:
            try:
                return in_words(build(wanted)[1].get_error())
            except InvalidRequestError as error:
                return error.message

        held, native = build(schema)
        left_out: tuple[str, ...] = ()
        while native.is_error():
            fault = locate(schema, in_words(native.get_error()), problem_of)
            if not lenient or len(left_out) == N_LEFT_OUT_MAX:
                raise fault.error()
            left_out += (".".join((*fault.path, *([fault.keyword] if fault.keyword else []))),)
            schema = fault.removed_from(schema)
            held, native = build(schema)
        return HeldSchema(held.text, (*left_out, *held.relaxed)), native

    def _lark(self, grammar: Grammar) -> str:
        source = grammar.source
        if grammar.syntax == "lark" or (grammar.syntax is None and _LARK.search(source)):
            if "multipleOf" in source:
                # A schema within a grammar (%json) is not checked here, and this keyword may take seconds to compile.
                raise InvalidRequestError("multipleOf is not supported inside of a grammar", param="constraint")
            return LLMatcher.grammar_from_lark(source)
        try:
            converted = gbnf_to_lark(
                source, n_vocab=self._model.n_vocab, ends=_ends(self._model), find_token=self._find_token
            )
        except InvalidRequestError as error:
            raise InvalidRequestError(f"the grammar cannot be used: {error.message}", param=error.param) from None
        return LLMatcher.grammar_from_lark(converted)

    def _find_token(self, text: str) -> int | None:
        tokens = self._model.tokenize(text, add_special=False, parse_special=True)
        return tokens[0] if len(tokens) == 1 else None

    def _build(self, grammar: str, n_schemas: int = 1) -> LLMatcher:
        return LLMatcher(self._ready_tokenizer(), grammar, log_level=0, limits=_limits(n_schemas))

    def _ready_tokenizer(self) -> LLTokenizer:
        if self._tokenizer is None:
            self._vocabulary = self._model.vocab
            self._controls = _controls(self._model)
            self._tokenizer = _tokenizer(self._model)
        return self._tokenizer


def _size(constraint: Constraint | CallGrammar) -> int:
    if isinstance(constraint, CallGrammar):
        n_listed = sum(len(value) for each in constraint.texts for value in each.values)
        return len(constraint.source) + sum(len(each.schema) for each in constraint.arguments) + n_listed
    if isinstance(constraint, JsonSchema):
        return len(constraint.schema)
    if isinstance(constraint, Regex):
        return len(constraint.pattern)
    return len(constraint.source) if isinstance(constraint, Grammar) else 0


def _ends(model: Model) -> list[int]:
    return [token for token in range(model.n_vocab) if model.is_end(token)]


def _controls(model: Model) -> dict[str, int]:
    """Returns the tokens that are not text, by their texts."""
    found = (token for token in range(model.n_vocab) if model.is_control(token))
    return {text: token for token in found if (text := model.token_bytes(token, special=True).decode(errors="ignore"))}


def _tokenizer(model: Model) -> LLTokenizer:
    vocabulary, tokenize = model.tokenizer_addresses
    # llguidance's mark of a token that is not text is a leading 0xFF.
    texts = [
        b"\xff" * model.is_control(token) + model.token_bytes(token, special=True) for token in range(model.n_vocab)
    ]
    ends = _ends(model)
    if not ends:
        raise InvalidRequestError("this model has no token that ends an answer", param="constraint")
    made: LLTokenizer = LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
        tokens=texts, vocab_ptr=vocabulary, tokenize_fptr=tokenize, eos_token=ends
    )
    return made
