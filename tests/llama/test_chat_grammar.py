"""Grammars of tool calls, and messages that are continued."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from benchmarks.source import vocabulary
from llmcore.errors import InvalidRequestError
from llmcore.llama.chat import ChatParser, ChatTemplate
from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler
from llmcore.messages import ChatPrompt
from llmcore.sampling import SamplingParams
from tests.conversations import TOOLS, USER
from tests.families import NAME
from tests.llama.chats import BY_NAME, prompt, said, stream, tool

CLOSED = {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]}


def babbled(model: Model, grammar: str) -> str:
    """Returns what a model with constant logits writes within the grammar."""
    noise = np.random.default_rng(0)
    found = b""
    with Sampler(model, SamplingParams(temperature=0), n_ctx=512) as sampler:
        sampler.constrain(grammar)
        for _ in range(200):
            token = sampler.sample_logits(noise.normal(size=model.n_vocab).astype(np.float32))
            if model.is_end(token):
                return found.decode()
            found += model.token_bytes(token, special=True)
    raise AssertionError(f"it does not end: {found!r}")


@pytest.mark.parametrize("source", ["llama-spm", "phi-3", "llama-bpe"])
def test_whatever_a_model_wants_it_makes_a_call(source: str) -> None:
    """Uses also tokenizers that put a space before a text: the grammar begins with the part of the answer that is in the prompt."""
    with Model(vocabulary(source), vocab_only=True) as model:
        for template in (None, BY_NAME["microsoft-Phi-3.5-mini-instruct"].source):
            with ChatTemplate(model, template) as opened:
                rendered = opened.render(prompt("named", [tool(CLOSED)]))
            with ChatParser(rendered.syntax) as parser:
                parsed = parser.parse(babbled(model, rendered.grammar), is_partial=False)
            assert json.loads(parsed.calls[0].arguments)["zone"] in ("UTC", "CET")
            assert [call.name for call in parsed.calls] == [NAME]


def test_a_grammar_begins_again_with_its_sampler(templates: dict[str, ChatTemplate], default_vocabulary: Model) -> None:
    family = BY_NAME["deepseek-ai-DeepSeek-V3.1"]
    wrong = default_vocabulary.tokenize(family.answer.replace(NAME, "nobody"), add_special=False)
    with Sampler(default_vocabulary, SamplingParams(temperature=0), n_ctx=512) as sampler:
        sampler.constrain(templates[family.template].render(prompt()).grammar)
        drawn = []
        for _ in range(2):
            logits = np.zeros((len(wrong), default_vocabulary.n_vocab), np.float32)
            logits[np.arange(len(wrong)), wrong] = 9
            drawn.append([sampler.sample_logits(row) for row in logits])
            sampler.reset()
    assert drawn[0] == drawn[1] != wrong


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
    with ChatTemplate(chat_model) as template:
        grammar = template.render(begun).grammar
    with (
        Sampler(chat_model, SamplingParams(), n_ctx=512) as sampler,
        pytest.raises(InvalidRequestError, match="cannot spell"),
    ):
        sampler.constrain(grammar)


def test_a_message_that_has_ended_is_not_continued_by_a_call(chat_model: Model) -> None:
    begun = ChatPrompt(
        b'[{"role": "user", "content": "x"}, {"role": "assistant", "content": "<|im_end|>and on"}]',
        tools=b'[{"type": "function", "function": {"name": "f"}}]',
        tool_choice="required",
        add_generation_prompt=False,
        continue_final_message=True,
    )
    with ChatTemplate(chat_model) as template:
        grammar = template.render(begun).grammar
    with (
        Sampler(chat_model, SamplingParams(), n_ctx=512) as sampler,
        pytest.raises(InvalidRequestError, match="ends an answer"),
    ):
        sampler.constrain(grammar)


@pytest.mark.parametrize("name", ["Qwen-Qwen2.5-7B-Instruct", "meta-llama-Llama-3.1-8B-Instruct"])
def test_a_required_call_may_follow_what_was_begun(
    name: str, templates: dict[str, ChatTemplate], default_vocabulary: Model
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
    assert said(default_vocabulary, templates[name].render(wanted).grammar, answer) == answer + "<end>"
