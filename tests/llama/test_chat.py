"""Prompts with tools, and parsed answers: for each family of models, right answers written by hand are
read whole and in any pieces, and allowed by the grammar, which refuses wrong ones."""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.source import vocabulary
from llmcore.errors import NativeError
from llmcore.llama.chat import ChatParser, ChatTemplate
from llmcore.llama.chat_stream import ParsedCall
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt
from tests.conversations import TOOLS, USER
from tests.families import ARGUMENTS, FAMILIES, NAME, Family
from tests.llama.chats import BY_NAME, Choice, Read, Writer, prompt, stream

CHOICES: tuple[Choice, ...] = ("auto", "required", "named")

# Text before the first call and in it is free here, so it can be anything.
JSON_FAMILIES = [family for family in FAMILIES if '"Oslo"' in family.answer]


def expected(family: Family) -> Read:
    return Read(family.content, family.reasoning, (ParsedCall(family.call_id, NAME, family.arguments),))


def told(family: Family, read: Read) -> Read:
    """Removes an id that the model writes after the arguments: a stream may have sent one of ours by then."""
    if family.tells_id:
        return read
    return Read(read.content, read.reasoning, tuple(ParsedCall("", call.name, call.arguments) for call in read.calls))


def answer(family: Family, choice: Choice) -> str:
    """Returns a family's answer. If a call is required, templates without tools begin with the call."""
    return family.answer.removeprefix(family.content) if choice != "auto" and not family.reads_before else family.answer


def held(family: Family, text: str, choice: Choice) -> str:
    """Returns what the grammar allows of an answer: a required call is made at once."""
    return text.replace(family.content, "", 1) if choice != "auto" and family.content.strip() else text


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_a_right_answer_is_read_and_allowed(
    family: Family, choice: Choice, templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    rendered = templates[family.template].render(prompt(choice))
    text = answer(family, choice)
    with ChatParser(rendered.syntax) as parser:
        parsed = parser.parse(text, is_partial=False)
    assert parsed.reasoning == family.reasoning
    assert parsed.calls == expected(family).calls
    if text == family.answer:
        assert parsed.content == family.content
    if choice != "auto" or family.holds_auto or rendered.grammar:
        allowed = held(family, text, choice)
        assert writer.said(rendered, allowed) == allowed + "<end>"
        if allowed != text:
            assert writer.said(rendered, text) != text + "<end>"


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_a_wrong_answer_is_not_allowed(
    family: Family, choice: Choice, templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    rendered = templates[family.template].render(prompt(choice))
    if choice == "auto" and not family.holds_auto:
        return
    text = answer(family, choice)
    wrong = [text.replace("get_weather", "get_wether")] if family.holds_name or choice != "auto" else []
    if family in JSON_FAMILIES:
        wrong += [text.replace('"Oslo"', "5"), text.replace('"city"', '"town"'), text.replace('{"city": "Oslo"}', "{}")]
    if choice != "auto":
        wrong += ["No.", ""]
    if choice == "named":
        wrong.append(text.replace("get_weather", "get_time").replace("city", "zone"))
    for each in wrong:
        assert writer.said(rendered, each) != each + "<end>"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_pieces_add_up_to_the_whole(family: Family, templates: dict[str, ChatTemplate]) -> None:
    """Letter by letter, every beginning of the answer is read."""
    with ChatParser(templates[family.template].render(prompt()).syntax) as parser:
        assert told(family, stream(parser, family.answer)) == told(family, expected(family))


@settings(deadline=None, max_examples=200)
@given(family=st.sampled_from(FAMILIES), cuts=st.lists(st.integers(0, 200), max_size=12))
def test_any_pieces_add_up_to_the_whole(family: Family, cuts: list[int], templates: dict[str, ChatTemplate]) -> None:
    edges = [0, *sorted(min(cut, len(family.answer)) for cut in cuts), len(family.answer)]
    pieces = [family.answer[a:b] for a, b in itertools.pairwise(edges)]
    with ChatParser(templates[family.template].render(prompt()).syntax) as parser:
        assert told(family, stream(parser, pieces)) == told(family, expected(family))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_an_answer_that_is_cut_says_the_beginning_of_the_whole(
    family: Family, templates: dict[str, ChatTemplate]
) -> None:
    whole = expected(family)
    with ChatParser(templates[family.template].render(prompt()).syntax) as parser:
        for length in range(len(family.answer)):
            found = stream(parser, [family.answer[:length]], is_whole=False)
            assert whole.content.startswith(found.content)
            assert whole.reasoning.startswith(found.reasoning)
            assert [call.name for call in found.calls] in ([], [NAME])
            assert all(family.arguments.startswith(call.arguments) for call in found.calls)


@settings(deadline=None, max_examples=120)
@given(family=st.sampled_from(JSON_FAMILIES), city=st.text(max_size=20), is_ascii=st.booleans())
def test_any_text_may_be_an_argument(
    family: Family, city: str, is_ascii: bool, templates: dict[str, ChatTemplate]
) -> None:
    try:
        city.encode()
    except UnicodeEncodeError:
        city = "surrogates are no text"
    text = family.answer.replace('"Oslo"', json.dumps(city, ensure_ascii=is_ascii))
    with ChatParser(templates[family.template].render(prompt()).syntax) as parser:
        parsed = parser.parse(text, is_partial=False)
        assert json.loads(parsed.calls[0].arguments) == {"city": city}
        assert told(family, stream(parser, text)) == told(family, Read.of(parsed))


@pytest.mark.parametrize(
    ("name", "text", "content", "reasoning"),
    [
        ("Qwen-Qwen2.5-7B-Instruct", "It <rains> {a lot}.", "It <rains> {a lot}.", ""),
        ("Qwen-Qwen3-0.6B", "<think>\nRain.\n</think>\n\nIt rains.", "It rains.", "Rain.\n"),
        ("openai-gpt-oss-120b", "<|channel|>final<|message|>It rains.", "It rains.", ""),
        ("meetkai-functionary-medium-v3.2", "all\nIt rains.", "It rains.", ""),
        (
            "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
            "<|START_THINKING|>Rain.<|END_THINKING|><|START_RESPONSE|>It rains.<|END_RESPONSE|>",
            "It rains.",
            "Rain.",
        ),
        ("microsoft-Phi-3.5-mini-instruct", "It <rains> {a lot}.", "It <rains> {a lot}.", ""),
        # Not in the form of a call, though it begins as one: nothing of it is lost.
        ("meta-llama-Llama-3.1-8B-Instruct", 'Write {"a": 1}, or {b}.', 'Write {"a": 1}, or {b}.', ""),
        ("meta-llama-Llama-3.1-8B-Instruct", '{"name": "Bob"}', '{"name": "Bob"}', ""),
        ("microsoft-Phi-3.5-mini-instruct", "I say <tool_call> as a word.", "I say <tool_call> as a word.", ""),
        ("openai-gpt-oss-120b", "It rains.", "It rains.", ""),
    ],
)
def test_answers_without_a_call_though_there_are_tools(
    name: str, text: str, content: str, reasoning: str, templates: dict[str, ChatTemplate], default_vocabulary: Model
) -> None:
    rendered = templates[name].render(prompt())
    with ChatParser(rendered.syntax) as parser:
        assert stream(parser, text) == stream(parser, [text]) == Read(content, reasoning, ())


TWICE = (ParsedCall("", NAME, ARGUMENTS), ParsedCall("", "get_time", '{"zone": "UTC"}'))
HERMES_TIME = '\n<tool_call>\n{"name": "get_time", "arguments": {"zone": "UTC"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", HERMES_TIME),
        ("google-gemma-2-2b-it", HERMES_TIME),
        ("unsloth-mistral-Devstral-Small-2507", '[TOOL_CALLS]get_time[ARGS]{"zone": "UTC"}'),
    ],
)
def test_two_calls_or_one(name: str, second: str, templates: dict[str, ChatTemplate], writer: Writer) -> None:
    for choice in CHOICES[:2]:
        text = held(BY_NAME[name], BY_NAME[name].answer, choice) + second
        rendered = templates[name].render(prompt(choice))
        assert writer.said(rendered, text) == text + "<end>"
        with ChatParser(rendered.syntax) as parser:
            assert stream(parser, text).calls == TWICE
        one = templates[name].render(prompt(choice, parallel_tool_calls=False))
        assert writer.said(one, text).rstrip() == text.removesuffix(second).rstrip()


@pytest.mark.parametrize("name", ["Qwen3.5-4B", "google-gemma-4-31B-it"])
def test_with_the_familys_own_tokens(name: str) -> None:
    """Uses vocabularies in which the marks of reasoning and calls are tokens."""
    family, source = BY_NAME[name], {"Qwen3.5-4B": "qwen35", "google-gemma-4-31B-it": "gemma-4"}[name]
    with (
        Model(vocabulary(source), vocab_only=True) as model,
        ChatTemplate(model, family.source) as template,
        Writer(model) as writer,
    ):
        for choice in CHOICES:
            rendered = template.render(prompt(choice))
            assert writer.said(rendered, family.answer) == family.answer + "<end>"
            wrong = family.answer.replace("get_weather", "get_wether")
            assert writer.said(rendered, wrong) != wrong + "<end>"


def test_no_tool_choice_reads_no_calls(templates: dict[str, ChatTemplate]) -> None:
    for family in (BY_NAME["Qwen-Qwen2.5-7B-Instruct"], BY_NAME["google-gemma-2-2b-it"]):
        wanted = ChatPrompt(msgspec.json.encode([USER]), tools=msgspec.json.encode(TOOLS), tool_choice="none")
        rendered = templates[family.template].render(wanted)
        assert "get_weather" in rendered.prompt, "so that the prompt stays the same from turn to turn"
        assert rendered.grammar == ""
        if rendered.syntax:
            with ChatParser(rendered.syntax) as parser:
                assert parser.parse(family.answer, is_partial=False).calls == ()


def test_an_answer_that_is_content_alone_needs_no_parser(templates: dict[str, ChatTemplate]) -> None:
    plain = ChatPrompt(msgspec.json.encode([USER]))
    assert templates["google-gemma-2-2b-it"].render(plain).syntax == ""
    assert templates["Qwen-Qwen3-0.6B"].render(plain).syntax != ""


# --- Schemas and refusals ----------------------------------------------------------------------------------------------


def test_a_parser_takes_any_text(templates: dict[str, ChatTemplate]) -> None:
    with ChatParser(templates["Qwen-Qwen3-0.6B"].render(prompt()).syntax) as parser:
        assert parser.parse("a\0b", is_partial=False).content == "a\ufffdb"
    for nonsense in ("nonsense", "{}"):
        with pytest.raises(NativeError, match="making a chat parser failed"):
            ChatParser(nonsense)
