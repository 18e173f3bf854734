"""What templates make of tools, and what is read from the answers: for each family of models, right answers written by hand are
read whole and in any pieces, and allowed by the grammar, which refuses wrong ones."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.source import vocabulary
from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import InvalidRequestError, NativeError
from llmcore.llama.chat import ChatParser, ChatTemplate, RenderedChat
from llmcore.llama.chat_stream import ChatStream, ParsedCall, ParsedChat
from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler
from llmcore.messages import ChatPrompt
from llmcore.sampling import SamplingParams
from tests.conversations import CLOCK, CONVERSATIONS, TOOLS, USER, WEATHER
from tests.families import ARGUMENTS, FAMILIES, NAME, Family

Choice = Literal["auto", "required", "named"]
CHOICES: tuple[Choice, ...] = ("auto", "required", "named")

BY_NAME = {family.template: family for family in FAMILIES}
# Text before the first call and in it is free here, so it can be anything.
JSON_FAMILIES = [family for family in FAMILIES if '"Oslo"' in family.answer]


@dataclass(frozen=True)
class Read:
    """What a caller has of an answer in the end."""

    content: str
    reasoning: str
    calls: tuple[ParsedCall, ...]

    @classmethod
    def of(cls, parsed: ParsedChat) -> Read:
        return cls(parsed.content, parsed.reasoning, parsed.calls)


@pytest.fixture(scope="module")
def templates(default_vocabulary: Model) -> Iterator[dict[str, ChatTemplate]]:
    opened = {family.template: ChatTemplate(default_vocabulary, family.source) for family in FAMILIES}
    yield opened
    for template in opened.values():
        template.close()


@pytest.fixture(scope="module")
def default_vocabulary(default_model: Path) -> Iterator[Model]:
    with Model(default_model, vocab_only=True) as model:
        yield model


def prompt(choice: Choice = "auto", tools: list[Any] = TOOLS, **more: Any) -> ChatPrompt:
    wanted: dict[str, Any] = {
        "auto": {},
        "required": {"tool_choice": "required"},
        "named": {"tool_choice": "required", "tool_name": NAME},
    }[choice]
    return ChatPrompt(msgspec.json.encode([USER]), tools=msgspec.json.encode(tools), **wanted, **more)


def stream(parser: ChatParser, pieces: Sequence[str], *, is_whole: bool = True) -> Read:
    """What the pieces of an answer add up to. Checks the order in which a call is told."""
    chat = ChatStream(lambda text, is_partial: parser.parse(text, is_partial=is_partial), lambda: "")
    deltas = [chat.push(piece) for piece in pieces]
    deltas.append(chat.finish("", is_whole=is_whole))
    calls: list[ParsedCall] = []
    for delta in (each for found in deltas for each in found.calls):
        if delta.index == len(calls):
            assert delta.name
            assert not delta.arguments
            calls.append(ParsedCall(delta.id, delta.name))
        else:
            assert delta.index == len(calls) - 1
            assert not delta.name
            assert not delta.id
            told = calls[-1]
            calls[-1] = ParsedCall(told.id, told.name, told.arguments + delta.arguments)
    return Read("".join(d.content for d in deltas), "".join(d.reasoning for d in deltas), tuple(calls))


def expected(family: Family) -> Read:
    return Read(family.content, family.reasoning, (ParsedCall(family.call_id, NAME, family.arguments),))


def told(family: Family, read: Read) -> Read:
    """Without an id that the model writes behind the arguments: whoever listens may have got one of ours by then."""
    if family.tells_id:
        return read
    return Read(read.content, read.reasoning, tuple(ParsedCall("", call.name, call.arguments) for call in read.calls))


def said(model: Model, grammar: str, text: str) -> str:
    """What a model says that wants to say `text` and then end, as far as the grammar lets it; "<end>" where it ended."""
    with Sampler(model, SamplingParams(temperature=0), n_ctx=512) as sampler:
        sampler.constrain(grammar)
        logits = np.zeros(model.n_vocab, np.float32)
        found = b""
        assert model.eos is not None
        for token in [*model.tokenize(text, add_special=False, parse_special=True), model.eos]:
            logits[token] = 9
            if sampler.sample_logits(logits) != token:
                return found.decode(errors="replace")
            logits[token] = 0
            found += b"<end>" if token == model.eos else model.token_bytes(token, special=True)
        return found.decode()


def answer(family: Family, choice: Choice) -> str:
    """Where a call must be made, a template that knows no tools begins with it."""
    return family.answer.removeprefix(family.content) if choice != "auto" and not family.reads_before else family.answer


def held(family: Family, text: str, choice: Choice) -> str:
    """What the grammar lets a model say of an answer: where a call must be made, it is made at once."""
    return text.replace(family.content, "", 1) if choice != "auto" and family.content.strip() else text


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_a_right_answer_is_read_and_allowed(
    family: Family, choice: Choice, templates: dict[str, ChatTemplate], default_vocabulary: Model
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
        assert said(default_vocabulary, rendered.grammar, allowed) == allowed + "<end>"
        if allowed != text:
            assert said(default_vocabulary, rendered.grammar, text) != text + "<end>"


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_a_wrong_answer_is_not_allowed(
    family: Family, choice: Choice, templates: dict[str, ChatTemplate], default_vocabulary: Model
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
        assert said(default_vocabulary, rendered.grammar, each) != each + "<end>"


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
def test_two_calls_or_one(
    name: str, second: str, templates: dict[str, ChatTemplate], default_vocabulary: Model
) -> None:
    for choice in CHOICES[:2]:
        text = held(BY_NAME[name], BY_NAME[name].answer, choice) + second
        rendered = templates[name].render(prompt(choice))
        assert said(default_vocabulary, rendered.grammar, text) == text + "<end>"
        with ChatParser(rendered.syntax) as parser:
            assert stream(parser, text).calls == TWICE
        one = templates[name].render(prompt(choice, parallel_tool_calls=False))
        assert said(default_vocabulary, one.grammar, text).rstrip() == text.removesuffix(second).rstrip()


@pytest.mark.parametrize("name", ["Qwen3.5-4B", "google-gemma-4-31B-it"])
def test_with_the_familys_own_tokens(name: str) -> None:
    """Where what marks reasoning and calls are tokens of their own."""
    family, source = BY_NAME[name], {"Qwen3.5-4B": "qwen35", "google-gemma-4-31B-it": "gemma-4"}[name]
    with Model(vocabulary(source), vocab_only=True) as model, ChatTemplate(model, family.source) as template:
        for choice in CHOICES:
            grammar = template.render(prompt(choice)).grammar
            assert said(model, grammar, family.answer) == family.answer + "<end>"
            wrong = family.answer.replace("get_weather", "get_wether")
            assert said(model, grammar, wrong) != wrong + "<end>"


CLOSED = {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]}


def babbled(model: Model, grammar: str) -> str:
    """What a model says that has no idea, as the grammar lets it."""
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
    """With tokenizers too that put a space before a text: the grammar begins with what the prompt holds of the answer."""
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


def test_what_was_begun_is_not_told_again(templates: dict[str, ChatTemplate]) -> None:
    messages = [USER, {"role": "assistant", "content": "It ra", "reasoning_content": "Rain, "}]
    for text, more in ((messages, {"content": "ins."}), ([USER, {**messages[1], "content": ""}], {})):
        goes_on = ChatPrompt(msgspec.json.encode(text), add_generation_prompt=False, continue_final_message=True)
        with ChatParser(templates["Qwen-Qwen3-0.6B"].render(goes_on).syntax) as parser:
            answer = more.get("content") or "then.\n</think>\n\nIt rains."
            found = stream(parser, answer)
        assert found.content == ("ins." if more else "It rains.")
        assert found.reasoning == ("" if more else "then.\n")


# --- Schemas and refusals ----------------------------------------------------------------------------------------------


def tool(parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": NAME, "parameters": parameters, **more}}


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
    assert [record.getMessage() for record in caplog.records] == ["tool_schema_relaxed"]
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
    # What llama.cpp itself finds wrong.
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


def test_a_parser_takes_any_text(templates: dict[str, ChatTemplate]) -> None:
    with ChatParser(templates["Qwen-Qwen3-0.6B"].render(prompt()).syntax) as parser:
        assert parser.parse("a\0b", is_partial=False).content == "a\ufffdb"
    for nonsense in ("nonsense", "{}"):
        with pytest.raises(NativeError, match="making a chat parser failed"):
            ChatParser(nonsense)


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
