"""A constraint applies to content, and not to reasoning before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import ConstraintError
from llmcore.grammar.content_gate import ContentGate, is_opened, reads_json
from llmcore.llama.chat import ChatParser, ChatTemplate, RenderedChat
from llmcore.llama.ffi.arrays import UInt32Array
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt
from tests.families import FAMILIES

N = 64
PIECES = {1: b"<think>", 2: b"</th", 3: b"ink>", 4: b"</think>\n", 5: b"<call>", 6: b"hm", 9: b""}
END, JSON = 9, 20


def bits(*tokens: int) -> UInt32Array:
    mask = np.zeros(N // 32, np.uint32)
    for token in tokens:
        mask[token // 32] |= np.uint32(1 << token % 32)
    return mask


def allowed(mask: UInt32Array | None) -> set[int]:
    assert mask is not None
    return {token for token in range(N) if int(mask[token // 32]) >> token % 32 & 1}


class Content:
    """Two times JSON, and nothing then."""

    def __init__(self) -> None:
        self.mask = bits()
        self.failure = ConstraintError("no")
        self.taken: list[int] = []

    @property
    def is_complete(self) -> bool:
        return len(self.taken) == 2

    def fill(self) -> None:
        self.mask[:] = bits(JSON)

    def accept(self, token: int) -> None:
        self.taken.append(token)

    def forced(self) -> list[int]:
        return [JSON]


def gate(content: Content, *, is_reasoning: bool = False, start: int | None = 1) -> ContentGate:
    anything = ~bits(END)
    return ContentGate(
        content,
        anything,
        lambda token: PIECES.get(token, b"x"),
        is_reasoning=is_reasoning,
        start=start,
        ends=("</think>",),
    )


def say(held: ContentGate, *tokens: int) -> None:
    """Each token has to be allowed."""
    for token in tokens:
        held.fill()
        assert token in allowed(held.mask), token
        held.accept(token)


def test_content_is_held_from_its_first_token() -> None:
    content = Content()
    held = gate(content, start=None)
    held.fill()
    assert allowed(held.mask) == {JSON}
    assert held.forced() == []  # before the first token it is not known whether it is content
    say(held, JSON)
    assert (held.forced(), held.is_complete) == ([JSON], False)
    say(held, JSON)
    assert (content.taken, held.is_complete) == ([JSON, JSON], True)


@pytest.mark.parametrize("end", [(2, 3), (4,), (6, 2, 6, 2, 3)])
def test_reasoning_is_free_but_does_not_end_the_answer(end: tuple[int, ...]) -> None:
    content = Content()
    held = gate(content)
    held.fill()
    assert allowed(held.mask) == {1, JSON}
    held.accept(1)
    held.fill()
    assert allowed(held.mask) == set(range(N)) - {END}
    say(held, 6, JSON, *end)
    held.fill()
    assert allowed(held.mask) == {JSON}  # it does not think twice
    assert content.taken == []


def test_reasoning_that_the_prompt_has_opened() -> None:
    held = gate(Content(), is_reasoning=True)
    held.fill()
    assert allowed(held.mask) == set(range(N)) - {END}
    say(held, 6, 4)
    held.fill()
    assert allowed(held.mask) == {JSON}


@given(st.lists(st.sampled_from([1, 2, 3, 4, 5, 6, JSON]), max_size=30))
def test_the_content_sees_its_own_tokens_alone(wanted: list[int]) -> None:
    """Whatever the logits, the content is JSON."""
    content = Content()
    held = gate(content)
    for token in wanted:
        held.fill()
        if held.is_complete or token not in allowed(held.mask):
            continue
        held.accept(token)
    assert set(content.taken) <= {JSON}


def render(name: str, model: Model, **details: object) -> RenderedChat:
    [family] = [each for each in FAMILIES if each.template == name]
    messages = b'[{"role": "user", "content": "Hi"}]'
    with ChatTemplate(model, family.source) as template:
        return template.render(ChatPrompt(messages, **details))  # type: ignore[arg-type]


def test_what_templates_say(chat_model: Model) -> None:
    opened, free = render("Qwen-QwQ-32B", chat_model), render("Qwen-Qwen3-0.6B", chat_model)
    assert (is_opened(opened), is_opened(free)) == (True, False)
    for chat in (opened, free):
        with ChatParser(chat.syntax) as parser:
            assert reads_json(chat, parser)
    channels = render("openai-gpt-oss-120b", chat_model)
    with ChatParser(channels.syntax) as parser:
        assert not reads_json(channels, parser)
