"""Constraints of answers: tools and a form of the answer together, and the schemas of tools in all families of templates."""

from __future__ import annotations

import datetime
import json
from typing import Annotated, Any, Literal

import jsonschema
import openai
import pydantic
import pytest

from llmcore.errors import InvalidRequestError
from llmcore.grammar.call_grammar import needed_constraints
from llmcore.llama.chat import ChatParser, ChatTemplate
from llmcore.messages import JsonSchema
from tests.families import FAMILIES, NAME, Family
from tests.json_schema_cases import CASES, REFUSED, Case, Refused
from tests.llama.chats import BY_NAME, Choice, Writer, prompt, tool

FORM = JsonSchema(
    b'{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false}'
)
HERMES = "Qwen-Qwen2.5-7B-Instruct"

# Answers that begin with what is no token of the vocabulary here, so that it is neither reasoning nor a call.
WITHOUT_REASONING = [
    family
    for family in FAMILIES
    if not family.reasoning and family.template != "fireworks-ai-llama-3-firefunction-v2"  # begins with a blank
]


def call(arguments: Any, **options: Any) -> str:
    text = json.dumps(arguments, ensure_ascii=False, **options)
    return f'<tool_call>\n{{"name": "{NAME}", "arguments": {text}}}\n</tool_call>'


def in_arguments(case: Case | Refused) -> dict[str, Any]:
    """A tool's parameters with a case's schema as the only one. References to the root become references to it."""

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(each) for each in value]
        if not isinstance(value, dict):
            return value
        copy = {key: moved(each) for key, each in value.items()}
        if value.get("$ref") == "#" or str(value.get("$ref")).startswith("#/"):
            copy["$ref"] = "#/properties/x" + value["$ref"][1:]
        return copy

    return {
        "type": "object",
        "properties": {"x": moved(case.schema)},
        "required": ["x"],
        "additionalProperties": False,
    }


# --- Tools and a form of the answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", WITHOUT_REASONING, ids=lambda family: family.template)
def test_the_answer_is_a_call_or_has_the_form(
    family: Family, templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    rendered = templates[family.template].render(prompt())
    made = family.answer.replace(family.content, "", 1) if family.content.strip() else family.answer
    assert writer.said(rendered, made, FORM) == f"{made}<end>"
    assert writer.said(rendered, '{"n": 5}', FORM) == '{"n": 5}<end>'
    for wrong in ("No.", '{"n": "x"}', "", made.replace(NAME, "nobody"), made.replace("city", "town")):
        assert writer.said(rendered, wrong, FORM) != f"{wrong}<end>"


def test_a_certain_call_has_no_other_form(templates: dict[str, ChatTemplate], writer: Writer) -> None:
    rendered = templates["meta-llama-Llama-3.1-8B-Instruct"].render(prompt("required"))
    assert writer.said(rendered, '{"n": 5}', FORM) != '{"n": 5}<end>'
    made = BY_NAME["meta-llama-Llama-3.1-8B-Instruct"].answer
    assert writer.said(rendered, made, FORM) == f"{made}<end>"


# --- Schemas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_arguments_are_held_as_a_form_of_the_answer_is(
    case: Case, templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    rendered = templates[HERMES].render(prompt("required", [tool(in_arguments(case), strict=True)]))
    for value in case.valid:
        for options in ({"separators": (",", ":")}, {"indent": 2}):
            text = call({"x": value}, **options)
            assert writer.said(rendered, text) == f"{text}<end>"
    for value in case.invalid:
        text = call({"x": value})
        assert writer.said(rendered, text) != f"{text}<end>"


@pytest.mark.parametrize("case", [*REFUSED, *CASES], ids=lambda case: case.name)
def test_a_strict_tool_is_refused_and_relaxed_as_a_form_is(
    case: Case | Refused, templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    parameters = in_arguments(case)
    form = JsonSchema(json.dumps(parameters).encode(), strict=True)
    rendered = templates[HERMES].render(prompt("required", [tool(parameters, strict=True)]))
    [needed] = needed_constraints(rendered, None)
    try:
        writer.constraints.prepare(form)
    except InvalidRequestError as refusal:
        problem = refusal.message.removeprefix("the schema cannot be honoured: ")
        with pytest.raises(InvalidRequestError) as caught:
            writer.constraints.prepare(needed)
        assert caught.value.param == "tools[0].function.parameters"
        assert caught.value.message.startswith("tools[0].function.parameters: ")
        assert caught.value.message.endswith(problem)
    else:
        writer.constraints.prepare(needed)
        paths = tuple(f"tools[0].function.parameters.{each}" for each in writer.constraints.relaxed(form))
        assert writer.constraints.relaxed(needed) == paths


SAMPLES: list[tuple[str, Any, list[Any], list[Any]]] = [
    ("any character", {"type": "string", "pattern": "^.{1,40}$"}, ['a "quoted" \\ one', "é"], ["", "x" * 41, 5]),
    ("a quote", {"type": "string", "pattern": '^"[a-z]+"$'}, ['"a"'], ["a", "'a'"]),
    ("a backslash", {"type": "string", "pattern": r"^C:\\[^/]+$"}, ["C:\\x"], ["C:x"]),
    ("control characters", {"type": "string", "pattern": r"^[^a-z]+$"}, ["\n\t\x01", "A"], ["a"]),
    ("escapes in a class", {"type": "string", "pattern": r"^[\w.\-\/]+$"}, ["a.b-c/d_1"], ["a b", "é"]),
    ("é", {"type": "string", "pattern": "^é+$"}, ["é", "ééé"], ["", "e"]),
    ("😀", {"type": "string", "pattern": "^😀+$"}, ["😀", "😀😀"], ["", "e"]),
    ("many items", {"type": "array", "items": {"type": "integer"}, "maxItems": 2000}, [[], [1, 2]], [["a"]]),
    ("number bounds", {"type": "number", "minimum": 0.5, "maximum": 9.5}, [0.5, 7, 9.25], [0.25, 10]),
    ("multipleOf", {"type": "integer", "multipleOf": 5}, [0, 25], [7]),
]


@pytest.mark.parametrize("is_strict", [True, False])
@pytest.mark.parametrize(
    ("schema", "valid", "invalid"), [each[1:] for each in SAMPLES], ids=[each[0] for each in SAMPLES]
)
def test_samples(
    schema: Any,
    valid: list[Any],
    invalid: list[Any],
    is_strict: bool,
    templates: dict[str, ChatTemplate],
    writer: Writer,
) -> None:
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    rendered = templates[HERMES].render(prompt("required", [tool(parameters, strict=is_strict)]))
    for value in valid:
        text = call({"x": value})
        assert writer.said(rendered, text) == f"{text}<end>"
    for value in invalid:
        text = call({"x": value})
        assert writer.said(rendered, text) != f"{text}<end>"


@pytest.mark.parametrize("ref", ["#/$defs/x~1y", "#/$defs/x~0y", "#/$defs/x%20y"])
def test_references_with_escapes(ref: str, templates: dict[str, ChatTemplate], writer: Writer) -> None:
    named = {"x/y": {"enum": ["yes"]}, "x~y": {"enum": ["yes"]}, "x y": {"enum": ["yes"]}}
    parameters = {"type": "object", "properties": {"x": {"$ref": ref}}, "required": ["x"], "$defs": named}
    for name in (HERMES, "Qwen3-Coder"):
        for is_strict in (True, False):
            rendered = templates[name].render(prompt("required", [tool(parameters, strict=is_strict)]))
            assert writer.constraint(rendered) is not None
    assert writer.said(templates[HERMES].render(prompt("required", [tool(parameters)])), call({"x": "yes"})).endswith(
        "<end>"
    )
    assert not writer.said(rendered, call({"x": "no"})).endswith("<end>")


@pytest.mark.parametrize(
    ("schema", "keyword"), [({"type": "string", "pattern": "^[z-a]$"}, "pattern"), ({"$ref": "#/properties/x"}, "$ref")]
)
def test_a_schema_that_means_nothing_names_its_tool(
    schema: Any, keyword: str, templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    other = tool({"type": "object", "properties": {}})
    rendered = templates[HERMES].render(prompt("required", [other, tool(parameters, strict=True)]))
    with pytest.raises(
        InvalidRequestError, match=f"'get_weather'.*'{keyword.replace('$', '.')}' at #/properties/x"
    ) as caught:
        writer.constraint(rendered)
    assert caught.value.param == "tools[1].function.parameters"


class Booking(pydantic.BaseModel):
    """Books a table."""

    email: Annotated[str, pydantic.Field(pattern=r"^[^@\\s]+@[^@\\s]+$")]
    when: datetime.datetime
    n_seats: Annotated[int, pydantic.Field(ge=1, le=12, multiple_of=2)]
    budget: Annotated[float, pydantic.Field(gt=0, lt=1000)] | None
    tags: Annotated[list[Literal["window", "quiet"]], pydantic.Field(max_length=2)]


def test_the_sdks_strict_tools_are_held(templates: dict[str, ChatTemplate], writer: Writer) -> None:
    made: Any = openai.pydantic_function_tool(Booking, name=NAME)
    assert made["function"]["strict"]
    booking = {"email": "a@b.no", "when": "2026-02-28T12:30:00Z", "n_seats": 4, "budget": 9.5, "tags": ["quiet"]}
    rendered = templates[HERMES].render(prompt("required", [made]))
    assert writer.said(rendered, call(booking)).endswith("<end>")
    for wrong in ({"email": "a b"}, {"when": "noon"}, {"n_seats": 3}, {"n_seats": 14}, {"budget": 0}, {"tags": ["x"]}):
        assert not writer.said(rendered, call({**booking, **wrong})).endswith("<end>")
    for name in ("Qwen3-Coder", "GLM-4.6"):
        assert writer.constraint(templates[name].render(prompt("required", [made]))) is not None


def test_random_calls_are_valid(templates: dict[str, ChatTemplate], writer: Writer) -> None:
    parameters = {
        "type": "object",
        "properties": {"x": {"type": "string", "pattern": "^.{1,9}$"}, "n": {"type": "number", "minimum": 1}},
        "required": ["x", "n"],
    }
    rendered = templates[HERMES].render(prompt("named", [tool(parameters, strict=True)]))
    for seed in range(5):
        text = writer.babbled(rendered, seed)
        [found] = [json.loads(each.partition("</tool_call>")[0]) for each in text.split("<tool_call>")[1:]]
        assert found["name"] == NAME
        assert 1 <= len(found["arguments"]["x"]) <= 9
        assert found["arguments"]["n"] >= 1


TAGGED = ["Qwen3-Coder", "Qwen3.5-4B", "GLM-4.6", "GLM-4.7-Flash", "MiniMax-M2", "deepseek-ai-DeepSeek-V3.2"]


@pytest.mark.parametrize("name", TAGGED)
@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize(
    ("city", "told"),
    [
        ({"enum": ["Oslo", "Bø"]}, []),
        ({"type": "string", "const": "Oslo", "title": "City"}, []),
        ({"$ref": "#/$defs/City"}, []),
        ({"anyOf": [{"const": "Oslo", "type": "string"}, {"const": "Rome", "type": "string"}]}, []),
        ({"type": "string", "pattern": "^(?!Ox)[A-Z][^0-9]*$"}, []),
        ({"type": "string", "minLength": 4, "maxLength": 4}, []),
        ({"type": "string", "format": "email", "maxLength": 5}, [".format"]),
    ],
)
def test_texts_are_held_where_parameters_are_written_each_by_itself(
    name: str,
    choice: Choice,
    city: dict[str, Any],
    told: list[str],
    templates: dict[str, ChatTemplate],
    writer: Writer,
) -> None:
    answer = BY_NAME[name].answer
    parameters = {"type": "object", "properties": {"city": city}, "required": ["city"]}
    parameters["$defs"] = {"City": {"type": "string", "enum": ["Oslo"]}}
    rendered = templates[name].render(prompt(choice, [tool(parameters, strict=True)]))
    content = BY_NAME[name].content if choice == "required" else ""
    made = answer.replace(content, "", 1) if content else answer
    assert writer.said(rendered, made) == f"{made}<end>"
    wrong = made.replace("Oslo", "Oxford")
    assert writer.said(rendered, wrong) != f"{wrong}<end>"
    [needed] = needed_constraints(rendered, None)
    assert list(writer.constraints.relaxed(needed)) == [
        f"tools[0].function.parameters.properties.city{each}" for each in told
    ]


@pytest.mark.parametrize("name", ["Qwen3-Coder", "Qwen3.5-4B"])
def test_random_calls_whose_parameters_are_written_each_by_itself_are_valid(
    name: str, templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    """Arguments as the parser reads them."""
    parameters: dict[str, Any] = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 1, "maxLength": 9},
            "code": {"type": "string", "pattern": r"^[\w<>/=\n]{3,20}$"},
            "day": {"type": "string", "format": "date"},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "n": {"type": "integer", "minimum": 3, "maximum": 90},
        },
        "required": ["city", "code", "day", "unit", "n"],
    }
    options: dict[str, Any] = {"parallel_tool_calls": False, "template_args": b'{"enable_thinking": false}'}
    rendered = templates[name].render(prompt("named", [tool(parameters, strict=True)], **options))
    check = jsonschema.Draft202012Validator(parameters, format_checker=jsonschema.FormatChecker())
    parser = ChatParser(rendered.syntax)
    for seed in range(5):
        text = writer.babbled(rendered, seed)
        [found] = parser.parse(text, is_partial=False).calls
        assert found.name == NAME
        check.validate(json.loads(found.arguments or ""))


@pytest.mark.parametrize("city", [{"pattern": "^O"}, {"type": ["string", "null"], "pattern": "^O"}])
def test_values_that_need_not_be_text_are_free_and_told(
    city: dict[str, Any], templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    parameters = {"type": "object", "properties": {"city": city}, "required": ["city"]}
    rendered = templates["Qwen3-Coder"].render(prompt("required", [tool(parameters, strict=True)]))
    [needed] = needed_constraints(rendered, None)
    writer.constraints.prepare(needed)
    assert writer.constraints.relaxed(needed) == ("tools[0].function.parameters.properties.city",)


def test_a_pattern_of_a_strict_tool_that_cannot_be_held_is_refused_in_every_notation(
    templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string", "pattern": "^[z-a]$"}}}
    for name in (HERMES, "Qwen3-Coder"):
        [needed] = needed_constraints(templates[name].render(prompt("required", [tool(parameters, strict=True)])), None)
        with pytest.raises(InvalidRequestError, match=r"'pattern' at #/properties/city: a range") as caught:
            writer.constraints.prepare(needed)
        assert caught.value.param == "tools[0].function.parameters"
        [lenient] = needed_constraints(templates[name].render(prompt("required", [tool(parameters)])), None)
        writer.constraints.prepare(lenient)
        [path] = writer.constraints.relaxed(lenient)
        assert path.startswith("tools[0].function.parameters.properties.city")


@pytest.mark.parametrize("name", ["Qwen3-Coder", "GLM-4.6", "MiniMax-M2", "deepseek-ai-DeepSeek-V3.2"])
def test_parameters_that_are_written_each_by_itself(
    name: str, templates: dict[str, ChatTemplate], writer: Writer
) -> None:
    """Text is free; other values are held by their schema."""
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"$ref": "#/$defs/days"}},
        "required": ["city"],
        "$defs": {"days": {"type": "integer", "minimum": 1, "multipleOf": 2}},
    }
    answer = BY_NAME[name].answer
    after = answer.index("Oslo") + 4
    # The parameter's own form, with another name and value behind it.
    close = {"Qwen3-Coder": "\n</parameter>\n", "MiniMax-M2": "</parameter>\n", "GLM-4.6": "</arg_value>\n"}.get(
        name, "</｜DSML｜parameter>"
    )
    opening = {
        "Qwen3-Coder": "<parameter=days>\n",
        "MiniMax-M2": '<parameter name="days">',
        "GLM-4.6": "<arg_key>days</arg_key>\n<arg_value>",
    }.get(name, '\n<｜DSML｜parameter name="days" string="false">')
    rendered = templates[name].render(prompt("required", [tool(parameters, strict=True)]))
    made = answer.replace(BY_NAME[name].content, "", 1) if BY_NAME[name].content else answer
    start = len(made) - len(answer)
    for value, is_valid in ((4, True), (3, False), (0, False), ("x", False)):
        text = f"{made[: after + start + len(close)]}{opening}{value}{close}{made[after + start + len(close) :]}"
        assert (writer.said(rendered, text) == f"{text}<end>") == is_valid, text
