"""Grammars of tool calls, and messages that are continued."""

from __future__ import annotations

import json

import msgspec
import pytest

from benchmarks.source import vocabulary
from llmcore.errors import InvalidRequestError
from llmcore.llama.chat import ChatParser, ChatTemplate
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt
from tests.conversations import TOOLS, USER
from tests.families import NAME
from tests.llama.chats import BY_NAME, Writer, prompt, stream, tool

CLOSED = {
    "type": "object",
    "properties": {"zone": {"enum": ["UTC", "CET"]}},
    "required": ["zone"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("source", ["llama-spm", "phi-3", "llama-bpe"])
def test_whatever_a_model_wants_it_makes_a_call(source: str) -> None:
    """Uses also tokenizers that put a space before a text: the grammar begins with the part of the answer that is in the prompt."""
    with Model(vocabulary(source), vocab_only=True) as model, Writer(model) as writer:
        for template in (None, BY_NAME["microsoft-Phi-3.5-mini-instruct"].source):
            with ChatTemplate(model, template) as opened:
                rendered = opened.render(prompt("named", [tool(CLOSED)]))
            with ChatParser(rendered.syntax) as parser:
                parsed = parser.parse(writer.babbled(rendered), is_partial=False)
            assert json.loads(parsed.calls[0].arguments)["zone"] in ("UTC", "CET")
            assert [call.name for call in parsed.calls] == [NAME]


def test_what_was_begun_is_not_told_again(templates: dict[str, ChatTemplate]) -> None:
    messages = [USER, {"role": "assistant", "content": "It ra", "reasoning_content": "Rain, "}]
    for text, more in ((messages, {"content": "ins."}), ([USER, {**messages[1], "content": ""}], {})):
        goes_on = ChatPrompt(msgspec.json.encode(text), add_generation_prompt=False, continue_final_message=True)
        with ChatParser(templates["Qwen-Qwen3-0.6B"].render(goes_on).syntax) as parser:
            answer = more.get("content") or "then.\n</think>\n\nIt rains."
            found = stream(parser, answer)
        assert found.content == ("ins." if more else "It rains.")
        assert found.reasoning == ("" if more else "then.\n")


def test_a_call_cannot_continue_what_the_tokenizer_cannot_spell(chat_model: Model) -> None:
    """Found by benchmarks/fuzz.py: the default model's vocabulary lacks a byte of this character."""
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "q\U0005902fH"}]
    begun = ChatPrompt(
        json.dumps(messages).encode(),
        tools=b'[{"type": "function", "function": {"name": "f"}}]',
        tool_choice="required",
        add_generation_prompt=False,
        continue_final_message=True,
    )
    with ChatTemplate(chat_model) as template, Writer(chat_model) as writer:
        rendered = template.render(begun)
        with pytest.raises(InvalidRequestError, match="cannot spell"):
            writer.constraint(rendered)


def test_a_message_that_has_ended_is_not_continued_by_a_call(chat_model: Model) -> None:
    begun = ChatPrompt(
        b'[{"role": "user", "content": "x"}, {"role": "assistant", "content": "<|im_end|>and on"}]',
        tools=b'[{"type": "function", "function": {"name": "f"}}]',
        tool_choice="required",
        add_generation_prompt=False,
        continue_final_message=True,
    )
    with ChatTemplate(chat_model) as template, Writer(chat_model) as writer:
        rendered = template.render(begun)
        with pytest.raises(InvalidRequestError, match="ends an answer"):
            writer.constraint(rendered)


@pytest.mark.parametrize("name", ["Qwen-Qwen2.5-7B-Instruct", "meta-llama-Llama-3.1-8B-Instruct"])
def test_a_required_call_may_follow_what_was_begun(
    name: str, templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    begun = b'[{"role": "user", "content": "x"}, {"role": "assistant", "content": "I look. "}]'
    wanted = ChatPrompt(
        begun,
        tools=json.dumps(TOOLS).encode(),
        tool_choice="required",
        add_generation_prompt=False,
        continue_final_message=True,
    )
    answer = BY_NAME[name].answer
    assert writer.said(templates[name].render(wanted), answer) == answer + "<end>"
