"""Messages as clients send them: without content, in an unusual order, with names. A template renders them or refuses them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llmcore.errors import InvalidRequestError
from llmcore.llama.chat import ChatTemplate
from llmcore.messages import ChatPrompt
from tests.families import FAMILIES

USER = {"role": "user", "content": "Hello."}
SYSTEM = {"role": "system", "content": "Be kind."}
RESULT = {"role": "tool", "content": "9", "tool_call_id": "lost", "name": ""}

UNUSUAL: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "null content": [USER, {"role": "assistant", "content": None}, USER],
    "no parts": [USER, {"role": "assistant", "content": []}, USER],
    "system last": [USER, SYSTEM],
    "systems": [SYSTEM, SYSTEM, USER],
    "the same role twice": [USER, USER],
    "assistant first": [{"role": "assistant", "content": "Hello!"}, USER],
    "a result without a call": [USER, RESULT],
    "a result alone": [RESULT],
    "names": [
        SYSTEM | {"name": "rules"},
        USER | {"name": "Ada"},
        {"role": "assistant", "content": "A", "name": "bot"},
        USER,
    ],
}


def chat(messages: list[dict[str, Any]]) -> ChatPrompt:
    return ChatPrompt(msgspec.json.encode(messages))


@pytest.mark.parametrize("messages", UNUSUAL.values(), ids=UNUSUAL)
def test_each_template_renders_or_refuses_them(
    messages: list[dict[str, Any]], templates: dict[str, ChatTemplate]
) -> None:
    refusals = []
    for family in FAMILIES:
        try:
            templates[family.template].render(chat(messages))
        except InvalidRequestError as error:
            refusals.append(error)
    assert len(refusals) < len(FAMILIES), "some template renders them"
    assert all(error.param == "messages" and error.message for error in refusals)


def test_a_template_that_uses_names_gets_them() -> None:
    source = (
        "{% for message in messages %}{{ message.role }}{% if message.name %} {{ message.name }}{% endif %}"
        ": {{ message.content }}\n{% endfor %}"
    )
    with ChatTemplate(None, source) as template:
        rendered = template.render(chat(UNUSUAL["names"])).prompt
    assert rendered.splitlines()[:4] == [
        "system rules: Be kind.",
        "user Ada: Hello.",
        "assistant bot: A",
        "user: Hello.",
    ]


def test_names_change_nothing_where_a_template_does_not_use_them(templates: dict[str, ChatTemplate]) -> None:
    plain = [{name: value for name, value in each.items() if name != "name"} for each in UNUSUAL["names"]]
    n_same = 0
    for family in FAMILIES:
        try:
            named, unnamed = (
                templates[family.template].render(chat(each)).prompt for each in (UNUSUAL["names"], plain)
            )
        except InvalidRequestError:
            continue
        if ".name" not in named:
            n_same += named == unnamed
    assert n_same > len(FAMILIES) // 2
