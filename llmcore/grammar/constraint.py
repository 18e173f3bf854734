"""What an answer must look like, as tokens that may come next: llguidance's matchers, compiled once and bounded.

This module is the only one that knows llguidance, which is not typed throughout and never raises for a grammar's errors: here
they become exceptions.
"""

from __future__ import annotations

import functools
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import msgspec
import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from llmcore.errors import ConstraintError, InvalidRequestError
from llmcore.grammar.gbnf import gbnf_to_lark
from llmcore.grammar.schema import locate, read_schema
from llmcore.llama.ffi.arrays import UInt32Array, address_of
from llmcore.llama.handle import BorrowedHandle
from llmcore.llama.model import Model
from llmcore.messages import Constraint, Grammar, JsonObject, JsonSchema, Regex

# A regular expression's or a grammar's text.
TEXT_MAX = 64 * 1024

# How a grammar in Lark is told from one in GBNF, whose rule of that name would begin with "start ::=".
_LARK = re.compile(r"^\s*(%llguidance\b|start\s*:(?!:=))", re.MULTILINE)

# Compiled grammars that are kept, and the size of what they were made of, in all.
N_CACHED, CACHED_BYTES = 64, 4 * 1024 * 1024

# Whitespace that pretty printers write. Unbounded, a model that likes blanks writes nothing else until its tokens run out.
_WHITESPACE = r"\x20|\r?\n[\x20\x09]{0,64}"

_ANY_OBJECT = b'{"type": "object"}'

# Part of llguidance's message where a parser needs more than step_max_items.
_ITEMS_ERROR = "Too many items"


def _limits() -> LLParserLimits:
    """Compiling stays within tens of milliseconds (fuel: 50k a ms), a mask too (14k a ms; items: 20k a ms), and a matcher within
    tens of MB (1 to 2 KB a state)."""
    return LLParserLimits(
        initial_lexer_fuel=1_000_000,
        step_lexer_fuel=200_000,
        step_max_items=50_000,
        max_lexer_states=25_000,
        max_grammar_size=200_000,
        verbose_errors=False,
    )


class Matcher:
    """One answer's place in its grammar. Used by one thread at a time.

    `mask` has a bit (lowest first, uint32[(n_vocab + 31) // 32]) for each token that may come next, once fill() was called.

    Matchers of one grammar share what its lexer has learned, and with it the bound on that. Where one of them reaches a limit,
    it begins anew with a lexer of its own (`renew`), so that it fails for what it does itself, or not at all.
    """

    def __init__(self, native: LLMatcher, n_vocab: int, renew: Callable[[], LLMatcher], needs: object = None) -> None:
        """`needs` is kept: the vocabulary that the native matcher tokenizes with."""
        self._native = native
        self._needs = needs
        self._renew: Callable[[], LLMatcher] | None = renew
        self._accepted: list[int] = []
        self.mask: UInt32Array = np.zeros((n_vocab + 31) // 32, np.uint32)
        self._is_filled = False

    @property
    def failure(self) -> ConstraintError:
        """Why no token could be drawn."""
        why = self._native.get_error() or "no token that may come next is one that the model can produce"
        return ConstraintError(f"the answer cannot go on as its constraint wants it: {why}", param="constraint")

    @property
    def is_complete(self) -> bool:
        """Nothing can follow. (Where something can, and the answer is valid as it stands, the mask allows an end token.)"""
        return self._native.is_stopped() and not self._native.is_error()

    def fill(self) -> None:
        """Computes the mask; an empty one where a limit is reached."""
        if self._is_filled:
            return
        self._native.unsafe_compute_mask_ptr(address_of(self.mask), self.mask.nbytes)
        if self._native.is_error() and self._begin_anew():
            self._native.unsafe_compute_mask_ptr(address_of(self.mask), self.mask.nbytes)
        if self._native.is_error():
            self.mask.fill(0)
        self._is_filled = True

    def accept(self, token: int) -> None:
        """The next token of the answer. Raises ConstraintError where a limit is reached, or the token may not come."""
        self._is_filled = False
        if not self._native.consume_token(token) and not (self._begin_anew() and self._native.consume_token(token)):
            raise self.failure
        self._accepted.append(token)

    def forced(self) -> list[int]:
        """Tokens that have to come next, whatever the model says. They are still to be accepted."""
        forced = list(self._native.compute_ff_tokens())
        # A vocabulary that lacks a byte spells it wrongly.
        return forced[: self._native.validate_tokens(forced)] if forced else []

    def _begin_anew(self) -> bool:
        """Once. Whether it stands where it stood. A parser's items are not shared, so compiling again (for 30 ms and more, in the
        engine's thread) would not make them fewer."""
        renew, self._renew = self._renew, None
        if renew is None or _ITEMS_ERROR in (self._native.get_error() or ""):
            return False
        self._native = renew()
        return self._native.consume_tokens(self._accepted)


class Constraints:
    """Compiles for one model. Any thread may compile; matchers are made from what is kept."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tokenizer: LLTokenizer | None = None
        self._vocabulary: BorrowedHandle | None = None  # that the tokenizer points to
        self._compiled: OrderedDict[Constraint, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()  # of what is kept
        self._compiling = threading.Lock()
        self._anything: UInt32Array | None = None

    def is_ready(self, constraint: Constraint) -> bool:
        with self._lock:
            return constraint in self._compiled

    def prepare(self, constraint: Constraint) -> None:
        """Compiles what is not kept yet. The first time also makes the tokenizer (0.4 s for 50k tokens). Raises
        InvalidRequestError, `param` being "constraint" or a path that begins so."""
        with self._compiling:
            if self.is_ready(constraint):
                return
            native = self._compile(constraint)
            with self._lock:
                self._compiled[constraint] = native
                while len(self._compiled) > N_CACHED or sum(map(_size, self._compiled)) > CACHED_BYTES:
                    self._compiled.popitem(last=False)

    def matcher(self, constraint: Constraint) -> Matcher:
        """A new matcher, at the beginning. Compiles first if need be, with prepare()'s errors."""
        while True:
            with self._lock:
                native = self._compiled.get(constraint)
                if native is not None:
                    self._compiled.move_to_end(constraint)
                    renew = functools.partial(self._renew, constraint, native)
                    return Matcher(native.deep_copy(), self._model.n_vocab, renew, self._vocabulary)
            self.prepare(constraint)

    def _renew(self, constraint: Constraint, worn: LLMatcher) -> LLMatcher:
        """The same grammar, shared with nobody. What is worn out is not kept either."""
        with self._lock:
            if self._compiled.get(constraint) is worn:
                del self._compiled[constraint]
        with self._compiling:
            return self._compile(constraint)

    def anything(self) -> UInt32Array:
        """The mask of all tokens that end no answer. The caller must not write to it."""
        if self._anything is None:
            mask = np.full((self._model.n_vocab + 31) // 32, 0xFFFFFFFF, np.uint32)
            for token in range(self._model.n_vocab):
                if self._model.is_end(token):
                    mask[token // 32] &= ~np.uint32(1 << token % 32)
            self._anything = mask
        return self._anything

    def close(self) -> None:
        """Lets go of everything that refers to the model's vocabulary."""
        with self._compiling, self._lock:
            self._compiled.clear()
            self._tokenizer = self._vocabulary = None

    # --- Compiling ----------------------------------------------------------------------------------------------------

    def _compile(self, constraint: Constraint) -> LLMatcher:
        if isinstance(constraint, JsonObject):
            constraint = JsonSchema(_ANY_OBJECT)
        if isinstance(constraint, JsonSchema):
            return self._compile_schema(constraint)
        text = constraint.pattern if isinstance(constraint, Regex) else constraint.source
        if len(text) > TEXT_MAX:
            raise InvalidRequestError(f"at most {TEXT_MAX} characters are allowed", param="constraint")
        lark = LLMatcher.grammar_from_regex(text) if isinstance(constraint, Regex) else self._lark(constraint)
        native = self._build(lark)
        if native.is_error():
            what = "regular expression" if isinstance(constraint, Regex) else "grammar"
            raise InvalidRequestError(f"the {what} cannot be used: {native.get_error()}", param="constraint")
        return native

    def _compile_schema(self, constraint: JsonSchema) -> LLMatcher:
        schema = read_schema(constraint.schema, strict=constraint.strict)
        options = {"whitespace_pattern": _WHITESPACE, "coerce_one_of": not constraint.strict}

        def build(wanted: dict[str, object]) -> LLMatcher:
            text = msgspec.json.encode(wanted).decode()
            return self._build(LLMatcher.grammar_from_json_schema(text, overrides=options))  # type: ignore[arg-type]

        native = build(schema)
        if native.is_error():
            raise locate(schema, native.get_error(), lambda wanted: build(wanted).get_error())
        return native

    def _lark(self, grammar: Grammar) -> str:
        source = grammar.source
        if grammar.syntax == "lark" or (grammar.syntax is None and _LARK.search(source)):
            if "multipleOf" in source:
                # A schema inside of a grammar (%json) is not looked at here, and this keyword may take seconds to compile.
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

    def _build(self, grammar: str) -> LLMatcher:
        if self._tokenizer is None:
            self._vocabulary = self._model.vocab
            self._tokenizer = _tokenizer(self._model)
        return LLMatcher(self._tokenizer, grammar, log_level=0, limits=_limits())


def _size(constraint: Constraint) -> int:
    if isinstance(constraint, JsonSchema):
        return len(constraint.schema)
    if isinstance(constraint, Regex):
        return len(constraint.pattern)
    return len(constraint.source) if isinstance(constraint, Grammar) else 0


def _ends(model: Model) -> list[int]:
    return [token for token in range(model.n_vocab) if model.is_end(token)]


def _tokenizer(model: Model) -> LLTokenizer:
    vocabulary, tokenize = model.tokenizer_addresses
    # A leading 0xFF says that a token is no text.
    pieces = [
        b"\xff" * model.is_control(token) + model.token_bytes(token, special=True) for token in range(model.n_vocab)
    ]
    ends = _ends(model)
    if not ends:
        raise InvalidRequestError("this model has no token that ends an answer", param="constraint")
    made: LLTokenizer = LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
        tokens=pieces, vocab_ptr=vocabulary, tokenize_fptr=tokenize, eos_token=ends
    )
    return made


class MaskSource(Protocol):
    """What a mask is computed for."""

    def fill(self) -> None: ...


class MaskThread:
    """Computes masks while the engine's thread is in native code, both without the interpreter lock."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._filling: Future[None] | None = None

    def start(self, matchers: Sequence[MaskSource]) -> None:
        """Fills the masks of these. Until wait(), nobody else may use them."""
        if not matchers:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="llmcore-masks")
        self._filling = self._pool.submit(_fill, matchers)

    def wait(self) -> None:
        filling, self._filling = self._filling, None
        if filling is not None:
            filling.result()

    def close(self) -> None:
        self.wait()
        if self._pool is not None:
            self._pool.shutdown()


def _fill(matchers: Sequence[MaskSource]) -> None:
    for matcher in matchers:
        matcher.fill()
