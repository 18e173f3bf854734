"""The grammar of calls applies from a trigger on."""

from __future__ import annotations

import numpy as np
import pytest

from llmcore.errors import ConstraintError
from llmcore.grammar.call_gate import CallGate
from llmcore.grammar.call_grammar import CallSyntax, Trigger
from llmcore.llama.ffi.arrays import UInt32Array

# One token for each of these texts.
TEXTS = [
    "<call>",
    "<ca",
    "ll>",
    "x<call>y",
    "{}",
    "<think>",
    "</think>",
    "say",
    " to=",
    "\n",
    "</thi",
    "nk><call>",
    "bad",
]


class Calls:
    """Takes everything up to "{}", except the text "bad"."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.mask: UInt32Array = np.zeros(1, np.uint32)
        self.failure = ConstraintError("no")

    @property
    def is_complete(self) -> bool:
        return bool(self.taken) and self.taken[-1] == TEXTS.index("{}")

    def fill(self) -> None:
        self.mask[:] = 1 << TEXTS.index("{}")

    def accept(self, token: int) -> None:
        if TEXTS[token] == "bad":
            raise ConstraintError("no")
        self.taken.append(token)

    def forced(self) -> list[int]:
        return [TEXTS.index("{}")]


class Held:
    """A gate, and the matchers that it has begun."""

    def __init__(self, *triggers: Trigger, start: str = "", prompt: str = "") -> None:
        syntax = CallSyntax("", True, triggers, prompt, start, ("</think>",))
        self.begun: list[Calls] = []
        self.spelled: list[str] = []
        self.gate = CallGate(syntax, self._begin, lambda token: TEXTS[token].encode(), self._spell)

    def _begin(self) -> Calls:
        self.begun.append(Calls())
        return self.begun[-1]

    def _spell(self, text: str) -> list[int]:
        self.spelled.append(text)
        return []

    def say(self, *texts: str) -> None:
        for text in texts:
            self.gate.fill()
            self.gate.accept(TEXTS.index(text))

    def is_free(self) -> bool:
        return self.gate.mask is None

    @property
    def taken(self) -> list[str]:
        return [TEXTS[token] for token in self.begun[-1].taken] if self.begun else []


CALL = Trigger("word", "<call>")


def test_nothing_is_held_before_the_trigger() -> None:
    held = Held(CALL)
    held.say("say", "<ca", "say")
    assert held.is_free()
    assert not held.gate.is_complete
    assert held.gate.forced() == []
    held.say("<call>")
    assert held.taken == ["<call>"]
    held.gate.fill()
    assert not held.is_free()
    assert held.gate.forced() == [TEXTS.index("{}")]
    held.say("{}")
    assert held.gate.is_complete


def test_a_trigger_may_have_several_tokens() -> None:
    held = Held(CALL)
    held.say("say", "<ca", "ll>")
    assert held.taken == ["<ca", "ll>"]


def test_a_trigger_within_a_token_is_spelled() -> None:
    held = Held(CALL)
    held.say("x<call>y")
    assert held.spelled == ["<call>y"]
    assert not held.is_free()


def test_a_trigger_within_reasoning_does_not_count() -> None:
    held = Held(CALL, start="<think>")
    held.say("<think>", "<call>", "</think>", "say", "<call>")
    assert held.taken == ["<call>"]
    opened = Held(CALL, start="<think>", prompt="<|assistant|><think>\n")
    opened.say("<call>")
    assert not opened.begun
    opened.say("</thi", "nk><call>")
    assert opened.spelled == ["<call>"]


def test_a_call_may_begin_with_the_end_of_the_reasoning() -> None:
    held = Held(Trigger("word", "</think>"), start="<think>")
    held.say("<think>", "say", "</think>")
    assert held.taken == ["</think>"]


@pytest.mark.parametrize(
    ("trigger", "texts", "taken"),
    [
        (Trigger("pattern", r"<ca(ll>)"), ("<ca", "ll>"), ["ll>"]),
        (Trigger("pattern_full", r"\s+to="), ("\n", " to="), ["\n", " to="]),
        (Trigger("pattern_full", r"\s+to="), ("say", " to="), []),
        (Trigger("pattern", r">>>(?!all)"), ("say",), []),
        (Trigger("token", "<call>", token=0), ("<call>",), ["<call>"]),
    ],
)
def test_kinds_of_triggers(trigger: Trigger, texts: tuple[str, ...], taken: list[str]) -> None:
    held = Held(trigger)
    held.say(*texts)
    assert held.taken == taken


def test_what_must_begin_an_answer_does_not_come_later() -> None:
    held = Held(Trigger("pattern", r"^(?:say)+ to="), CALL)
    held.say(*["say"] * 2000, " to=")
    assert not held.begun, "the beginning is forgotten"
    held.say("<call>")
    assert held.taken == ["<call>"]


def test_text_that_breaks_the_grammar_ends_the_constraint() -> None:
    held = Held(Trigger("word", "bad"))
    held.say("bad", "<call>")
    assert held.is_free()
    assert not held.gate.is_complete
    assert held.gate.failure.param == "tools"
