"""Schemas of tools, and refusals of templates and requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import InvalidRequestError
from llmcore.llama.chat import ChatTemplate, RenderedChat
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt
from tests.conversations import CONVERSATIONS, USER, WEATHER


def rendered_with(template: ChatTemplate, **fields: Any) -> RenderedChat:
    return template.render(ChatPrompt(**{"messages": msgspec.json.encode([USER]), **fields}))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": b"5"}, "messages"),
        ({"messages": b"no JSON"}, "messages"),
        ({"messages": b'[{"role": "user", "content": [{"type": "image_url"}]}]'}, "messages"),
        ({"tools": b"5"}, "tools"),
        ({"tools": b"[5]"}, "tools"),
        ({"tools": b'[{"type": "function"}]'}, "tools[0].function"),
        ({"tools": msgspec.json.encode([WEATHER]), "tool_choice": "required", "tool_name": "nobody"}, "tool_name"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"template_args": b"[]"}, "chat_template_kwargs"),
        ({"template_args": b'{"enable_thinking": "yes"}'}, "chat_template_kwargs.enable_thinking"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
    ],
)
def test_a_refusal_names_its_field(fields: dict[str, Any], param: str, templates: dict[str, ChatTemplate]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        rendered_with(templates["Qwen-Qwen2.5-7B-Instruct"], **fields)
    assert caught.value.param == param
    assert "\n" not in caught.value.message


def test_what_a_template_raises_is_told_in_its_words(templates: dict[str, ChatTemplate]) -> None:
    with pytest.raises(InvalidRequestError, match=r"messages: This model only supports single tool-calls at once!$"):
        templates["meta-llama-Llama-3.1-8B-Instruct"].render(CONVERSATIONS["two calls"].prompt)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% for x in %}{{", "cannot be used: Unexpected token"),
        ("a\n{{ messages | nowhere }}", r"line 2, column 13: Unknown \(built-in\) filter 'nowhere'"),
        ("{{ raise_exception('not for you') }}", "cannot render a message: not for you"),
    ],
)
def test_a_broken_template_is_refused_at_start(
    source: str, problem: str, default_vocabulary: Model, default_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequestError, match=problem) as caught:
        ChatTemplate(default_vocabulary, source)
    path = tmp_path / "mine.jinja"
    path.write_text(source)
    with pytest.raises(InvalidRequestError, match=problem) as caught:
        Engine.open(EngineConfig(model_path=str(default_model), n_ctx=256, chat_template=str(path)))
    assert caught.value.param == "chat_template"
    assert "\n" not in caught.value.message


def test_a_template_says_what_it_can(templates: dict[str, ChatTemplate]) -> None:
    described = templates["openai-gpt-oss-120b"].describe()
    assert described["source"].startswith("{#-")
    assert described["explicit"]
    assert templates["openai-gpt-oss-120b"].capabilities["supports_reasoning_effort"]
    assert "high" in rendered_with(templates["openai-gpt-oss-120b"], reasoning_effort="high").prompt
