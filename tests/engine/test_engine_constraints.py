"""Engine with constraints and log-probabilities: forced tokens counted and stopped like others, failures of one alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from msgspec import structs

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import InvalidRequestError
from llmcore.grammar.matcher import Matcher
from llmcore.messages import (
    Constraint,
    Failed,
    Finished,
    GenerateRequest,
    Grammar,
    JsonObject,
    JsonSchema,
    Piece,
    Regex,
    TextPrompt,
)
from llmcore.sampling import SamplingParams
from tests.engine.engine_requests import GREEDY, STORY, chat, outputs, request, run, said

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "first_name": {"type": "string", "maxLength": 30},
        "age_in_years": {"type": "integer", "minimum": 0, "maximum": 150},
        "favourite_colour": {"enum": ["red", "green", "blue"]},
    },
    "required": ["first_name", "age_in_years", "favourite_colour"],
    "additionalProperties": False,
}
SCHEMA = JsonSchema(json.dumps(PERSON).encode())
ASK = chat(("user", "Describe somebody, as JSON."))
LITERAL = "Good morning, and welcome to the show! "


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        SamplingParams(seed=1),
        SamplingParams(seed=2, temperature=1.5, top_p=0.9),
        SamplingParams(seed=3, typical_p=0.5),
    ],
    ids=["greedy", "drawn", "wild", "llama.cpp's chain"],
)
def test_an_answer_is_valid_by_its_schema(engine: Engine, sampling: SamplingParams) -> None:
    answer = run(engine, request("a", ASK, constraint=SCHEMA, sampling=sampling, max_tokens=200))["a"]
    jsonschema.validate(json.loads(answer.text), PERSON)
    assert answer.reason == "stop"


def test_json_objects_expressions_and_grammars(engine: Engine) -> None:
    done = run(
        engine,
        request("object", ASK, constraint=JsonObject(), max_tokens=1000),
        request("regex", STORY, constraint=Regex(r" [A-Z][a-z]+ \([0-9]{4}\)")),
        request("gbnf", STORY, constraint=Grammar('root ::= "yes" | "no"')),
    )
    if done["object"].reason == "stop":
        assert isinstance(json.loads(done["object"].text), dict)
    assert done["gbnf"].text in ("yes", "no")
    assert done["regex"].reason == done["gbnf"].reason == "stop"


def test_neighbours_do_not_notice(tiny_engine: Engine) -> None:
    alone = run(tiny_engine, request("a", STORY))["a"].text
    together = run(
        tiny_engine,
        request("free", STORY),
        request("constrained", STORY, constraint=Regex(LITERAL + "[a-z ]{100}")),
        request("told", STORY, n_logprobs=5),
    )
    assert together["free"].text == together["told"].text == alone
    assert together["constrained"].text.startswith(LITERAL)


def test_forced_tokens_take_fewer_steps_and_are_counted(engine: Engine) -> None:
    engine.prepare(Regex(LITERAL + "[0-9]{2}"))
    before = engine.stats()
    found = outputs(engine, request("a", STORY, constraint=Regex(LITERAL + "[0-9]{2}")))["a"]
    finished = found[-1]
    assert isinstance(finished, Finished)
    pieces = [each for each in found if isinstance(each, Piece)]
    text = "".join(each.text for each in pieces) + finished.text
    assert text[: len(LITERAL)] == LITERAL
    n_generated = finished.usage.n_generated
    assert finished.usage.n_generated == len(engine.model.tokenize(LITERAL, add_special=False)) + 2
    after = engine.stats()
    assert after.n_steps - before.n_steps < n_generated
    assert after.n_tokens_generated - before.n_tokens_generated == n_generated
    assert sum(each.n_tokens for each in pieces) <= n_generated
    n_prompt = finished.usage.n_prompt
    assert after.n_tokens_prefilled - before.n_tokens_prefilled == n_prompt - finished.usage.n_cached


@pytest.mark.parametrize("max_tokens", range(1, 12))
def test_never_more_than_max_tokens(engine: Engine, max_tokens: int) -> None:
    answer = run(engine, request("a", STORY, constraint=Regex(LITERAL + "[0-9]{2}"), max_tokens=max_tokens))["a"]
    assert answer.usage.n_generated == max_tokens or answer.reason == "stop"
    assert (LITERAL + "00").startswith(answer.text[: len(LITERAL)])


def test_never_more_than_the_context_holds(engine: Engine) -> None:
    n_ctx = engine.limits.n_ctx
    text = "word " * (n_ctx - 8)
    assert len(engine.model.tokenize(text)) < n_ctx
    prompt = TextPrompt(text)
    answer = run(engine, request("a", prompt, constraint=Regex("(" + LITERAL + "){5}"), max_tokens=None))["a"]
    assert answer.reason == "length"
    assert answer.usage.n_prompt + answer.usage.n_generated <= n_ctx


def test_a_stop_string_ends_among_forced_tokens(engine: Engine) -> None:
    answer = run(engine, request("a", STORY, constraint=Regex(LITERAL + "[0-9]{2}"), stop=(" to the",)))["a"]
    assert answer.text == "Good morning, and welcome"
    assert answer.reason == "stop"
    assert answer.usage.n_generated <= len(engine.model.tokenize("Good morning, and welcome to the", add_special=False))


def test_forced_tokens_count_for_penalties(engine: Engine) -> None:
    constraint = Regex("(yes yes yes yes yes ){3}(yes|no)")
    parts = {engine.model.tokenize(text, add_special=False)[0]: -100.0 for text in ("y", " y", "ye", " ye", "yes")}
    plain = SamplingParams(temperature=0, logit_bias=parts)  # so that the word is one token, the one that was forced
    biased = msgspec.structs.replace(plain, presence_penalty=2.0, frequency_penalty=2.0)
    assert run(engine, request("a", STORY, constraint=constraint, sampling=biased, max_tokens=60))["a"].text.endswith(
        "no"
    )


def test_what_follows_forced_tokens_is_what_follows_that_text(tiny_engine: Engine) -> None:
    """Their cells are those of the same tokens in a prompt, or drawn one by one."""
    engine = tiny_engine
    constraint = Regex(LITERAL + r"(?s:.*)")
    forced = outputs(engine, request("a", STORY, constraint=constraint, max_tokens=60))["a"]
    engine.drop_cached_prefixes()
    one_by_one = outputs(engine, request("b", STORY, constraint=constraint, max_tokens=60, n_logprobs=0))["b"]
    assert len(forced) < len(one_by_one)
    assert said(forced) == said(one_by_one)


def test_a_request_goes_on_behind_a_constrained_answer(tiny_engine: Engine) -> None:
    engine = tiny_engine
    first = run(engine, request("a", STORY, constraint=Regex(LITERAL + "[0-9]{2}")))["a"]
    again = run(engine, request("b", STORY + first.text + " and then", max_tokens=8))["b"]
    assert again.usage.n_cached > again.usage.n_prompt // 2
    engine.drop_cached_prefixes()
    assert run(engine, request("c", STORY + first.text + " and then", max_tokens=8))["c"].text == again.text


def test_eight_at_once_are_all_valid(engine: Engine) -> None:
    requests = [
        request(str(i), ASK, constraint=SCHEMA, sampling=SamplingParams(seed=i, temperature=1.2), max_tokens=200)
        for i in range(8)
    ]
    for answer in run(engine, *requests).values():
        if answer.reason == "stop":
            jsonschema.validate(json.loads(answer.text), PERSON)


@pytest.mark.parametrize(
    ("details", "named"),
    [
        ({"constraint": JsonSchema(b'{"not": {}}')}, "constraint.not"),
        ({"constraint": Regex("(")}, "constraint"),
        ({"constraint": JsonObject(), "ignore_eos": True}, "ignore_eos"),
        ({"n_logprobs": 21}, "n_logprobs"),
        ({"n_logprobs": -1}, "n_logprobs"),
    ],
)
def test_what_cannot_be_honoured_is_refused(engine: Engine, details: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        engine.submit(request("a", STORY, **details))
    assert caught.value.param == named
    assert not engine.has_work


def test_a_constraint_that_fails_on_the_way_ends_its_request_alone(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tiny_engine
    alone = run(engine, request("a", STORY))["a"].text
    n = 0
    fill = Matcher.fill

    def failing(self: Matcher) -> None:
        nonlocal n
        n += 1
        fill(self)
        if n == 4:
            self.mask.fill(0)

    monkeypatch.setattr(Matcher, "fill", failing)
    found = outputs(engine, request("bad", STORY, constraint=Regex("[a-z ]+[0-9]")), request("good", STORY))
    failed = found["bad"][-1]
    assert isinstance(failed, Failed)
    assert (failed.code, failed.param) == ("constraint_failed", "constraint")
    assert said(found["good"]) == alone
    assert engine.stats().n_running == 0


def test_a_grammar_that_outgrows_its_limits_is_a_clear_error(engine: Engine) -> None:
    # It has to remember where each of the last letters stood: more states than are allowed.
    constraint = Regex("(a|b)*a(a|b){300}(c(a|b)*b(a|b){300})*")
    sampling = SamplingParams(seed=1, temperature=5.0)
    found = outputs(engine, request("a", STORY, constraint=constraint, sampling=sampling, max_tokens=30))["a"]
    last = found[-1]
    assert isinstance(last, Finished) or (isinstance(last, Failed) and last.code == "constraint_failed")


# --- Log-probabilities --------------------------------------------------------------------------------------------------


def test_constraints_and_messages_survive_the_wire() -> None:
    constraints: list[Constraint] = [SCHEMA, JsonObject(), Regex("a"), Grammar("root ::= [a]", "gbnf")]
    for constraint in constraints:
        sent = GenerateRequest(request_id="a", prompt=ASK, constraint=constraint, n_logprobs=2)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=GenerateRequest) == sent


@pytest.mark.parametrize("template", ["Qwen-Qwen3-0.6B", "openai-gpt-oss-120b"])
def test_content_is_held_whatever_a_template_puts_around_it(
    default_model: Path, llama_cpp: Path, template: str
) -> None:
    """Reasoning that the model need not begin; and channels, whose marks a constraint cannot hold together with the content."""
    source = llama_cpp / "models" / "templates" / f"{template}.jinja"
    with Engine.open(EngineConfig(model_path=str(default_model), n_ctx=1024, chat_template=str(source))) as engine:
        answer = run(engine, request("a", ASK, constraint=SCHEMA, sampling=GREEDY, max_tokens=200))["a"]
    jsonschema.validate(json.loads(answer.text), PERSON)
    assert answer.reason == "stop"


@pytest.mark.parametrize("template", [None, "meta-llama-Llama-3.1-8B-Instruct", "openai-gpt-oss-120b"])
def test_beside_tools_the_answer_is_a_call_or_has_the_form(
    template: str | None, default_model: Path, llama_cpp: Path
) -> None:
    """Also where calls begin with ordinary text, and where content has a form of its own."""
    source = "" if template is None else str(llama_cpp / "models" / "templates" / f"{template}.jinja")
    config = EngineConfig(model_path=str(default_model), n_ctx=4096, n_slots=4, chat_template=source)
    closed = {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]}
    tools = json.dumps([{"type": "function", "function": {"name": "clock", "parameters": closed}}]).encode()
    asked = structs.replace(ASK, tools=tools, parallel_tool_calls=False)
    form: dict[str, Any] = {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}
    kinds = set()
    with Engine.open(config) as engine:
        [bracket] = engine.model.tokenize("[", add_special=False)
        details: dict[str, Any] = {"constraint": JsonSchema(json.dumps(form).encode()), "max_tokens": 200}
        for i, bias in enumerate((-100.0, -100.0, 100.0, 100.0)):
            details["sampling"] = SamplingParams(seed=i, logit_bias={bracket: bias})
            found = outputs(engine, request(str(i), asked, **details))[str(i)]
            calls = [call for each in found if isinstance(each, (Piece, Finished)) for call in each.calls]
            if not isinstance(found[-1], Finished) or found[-1].reason == "length":
                continue  # llama.cpp's syntax of gpt-oss lets a small model write a long name for the form of the arguments
            kinds.add("call" if calls else "content")
            if calls:
                assert calls[0].name == "clock"
                jsonschema.validate(json.loads("".join(call.arguments for call in calls)), closed)
                assert said(found) == ""
            else:
                jsonschema.validate(json.loads(said(found)), form)
    assert "content" in kinds
    assert "call" in kinds or template == "openai-gpt-oss-120b"
