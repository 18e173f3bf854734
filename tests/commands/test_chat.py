"""The loop of `llmcore chat`, with a scripted model. As a real process: tests/commands/test_cli.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llmcore.commands.chat import HELP, Conversation
from llmcore.errors import ContextLengthError


class ScriptedLLM:
    """Answers each conversation with one word per message. The last message may name an error to raise."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def chat(self, messages: list[dict[str, str]], **options: Any) -> Iterator[str]:
        self.asked.append([each["content"] for each in messages])
        if messages[-1]["content"] == "too long":
            raise ContextLengthError("the conversation is too long")
        for i in range(len(messages)):
            if messages[-1]["content"] == "interrupt" and i == 1:
                raise KeyboardInterrupt
            yield f"word{i} "


def talk(*lines: str, system: str = "") -> tuple[ScriptedLLM, Conversation]:
    llm, left = ScriptedLLM(), iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    conversation = Conversation(llm, system, 0.0, None)  # type: ignore[arg-type]
    conversation.run(read)
    return llm, conversation


def test_answers_become_part_of_the_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    llm, _ = talk("hello", "", "  again  ", system="Be brief.")
    assert llm.asked == [["Be brief.", "hello"], ["Be brief.", "hello", "word0 word1 ", "again"]]
    assert capsys.readouterr().out == "word0 word1 \nword0 word1 word2 word3 \n"


def test_commands_reset_help_and_end(capsys: pytest.CaptureFixture[str]) -> None:
    llm, conversation = talk("hello", "/reset", "/help", "again", "/exit", "never", system="Be brief.")
    assert llm.asked[1:] == [["Be brief.", "again"]]
    assert HELP in capsys.readouterr().out
    assert len(conversation.messages) == 3


def test_an_interrupted_answer_is_kept_as_far_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    llm, _ = talk("hello", "interrupt", "and then")
    assert llm.asked[-1] == ["hello", "word0 ", "interrupt", "word0 ", "and then"]
    assert "word0  [interrupted]\n" in capsys.readouterr().out


def test_a_message_that_does_not_fit_is_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    llm, _ = talk("hello", "too long", "again")
    assert llm.asked[-1] == ["hello", "word0 ", "again"]
    assert "the conversation is too long; /reset starts anew" in capsys.readouterr().err
