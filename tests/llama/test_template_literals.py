"""Texts that templates look for in messages."""

from __future__ import annotations

import pytest

from llmcore.llama.template_literals import inspected_texts
from tests.conversations import TEMPLATES


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("{{ content.split('</think>')[-1] }}", ("</think>",)),
        ('{% if "<a>" in message.content and not c.startswith("<b>") %}', ("<b>", "<a>")),
        ("{% if '<a>' not in content %}{{ content | replace('<c>', '') }}", ("<c>", "<a>")),
        ("{%- set end = '</t>' -%}{{ content.rsplit(end, 1) }}", ("</t>",)),
        ("{{ content.split('it\\'s\\n') }}", ("it's\n",)),
        ("{{ '<|im_start|>' + message.content + '<|im_end|>' }}", ()),
        ("{# content.split('<old>') #}{{ content.split(other) }}", ()),
        ("{% for role in roles %}{{ role == 'user' }}{% endfor %}", ()),
    ],
)
def test_literals_in_searches(source: str, texts: tuple[str, ...]) -> None:
    assert inspected_texts(source) == texts


def test_the_templates_of_the_source_look_for_reasoning_and_little_else() -> None:
    found = {path.stem: inspected_texts(path.read_text("utf-8")) for path in TEMPLATES}
    tags = {name: [text for text in texts if "<" in text or "[" in text] for name, texts in found.items()}
    assert {"</think>", "<think>"} <= set(tags["Qwen-Qwen3-0.6B"])
    assert tags["MiniMax-M3"] == ["</mm:think>", "<mm:think>"]
    assert tags["openai-gpt-oss-120b"] == ["<|channel|>analysis<|message|>", "<|channel|>final<|message|>"]
    turns = {text for texts in tags.values() for text in texts if text in ("<|im_start|>", "<|im_end|>", "<|eot_id|>")}
    assert turns == set()
