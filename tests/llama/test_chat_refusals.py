"""Schemas of tools, and refusals of templates and requests."""

from __future__ import annotations

import logging
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
from tests.conversations import CLOCK, CONVERSATIONS, USER, WEATHER
from tests.llama.chats import prompt, said, tool
from tests.log_events import event_names

BOUNDED = {"type": "object", "properties": {"days": {"type": "number", "minimum": 1}}, "required": ["days"]}


def call(value: str) -> str:
    return f'<tool_call>\n{{"name": "get_weather", "arguments": {value}}}\n</tool_call>'


@pytest.mark.parametrize("name", ["Qwen-Qwen2.5-7B-Instruct", "google-gemma-2-2b-it"])
def test_a_schema_is_held_as_far_as_can_be(
    name: str,
    templates: dict[str, ChatTemplate],
    default_vocabulary: Model,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "llmcore.llama.chat"):
        rendered = templates[name].render(prompt("required", [tool(BOUNDED)]))
    assert event_names(caplog) == ["tool_schema_relaxed"]
    assert '"minimum":' in rendered.prompt.replace(" ", ""), "the model is told of what cannot be held"
    assert said(default_vocabulary, rendered.grammar, call('{"days": 0.5}')).endswith("<end>")
    assert not said(default_vocabulary, rendered.grammar, call('{"days": "1"}')).endswith("<end>")
    assert not said(default_vocabulary, rendered.grammar, call("{}")).endswith("<end>")


def test_a_strict_tool_whose_schema_cannot_be_held_is_refused(templates: dict[str, ChatTemplate]) -> None:
    template = templates["Qwen-Qwen2.5-7B-Instruct"]
    with pytest.raises(
        InvalidRequestError, match=r"'get_weather' is strict.*\$\.properties\.days.*'minimum'"
    ) as caught:
        template.render(prompt(tools=[CLOCK, tool(BOUNDED, strict=True)]))
    assert caught.value.param == "tools[1].function.parameters"
    # Errors that llama.cpp itself finds.
    lost: dict[str, Any] = {"type": "object", "properties": {"a": {"$ref": "#/$defs/nowhere"}}}
    with pytest.raises(InvalidRequestError, match="cannot be honoured") as caught:
        template.render(prompt(tools=[tool(lost, strict=True)]))
    assert caught.value.param == "tools[0].function.parameters"
    relaxed = template.render(prompt("required", [tool(lost)]))
    assert [each.tool for each in relaxed.relaxed] == [0]
    # The tool that cannot be held harms no other.
    assert template.render(prompt("required", [tool(lost), CLOCK])).grammar.count("get_time")


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
