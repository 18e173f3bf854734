"""instructor: structures by tools and by schemas, retries that send an answer and its error back, partial and iterable streams."""

import asyncio
import sys
from typing import Literal

import instructor
from instructor import Mode
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field, field_validator

url, name = sys.argv[1:]
service = {"base_url": url, "api_key": "none"}
brief = {"temperature": 0, "max_tokens": 128}
question = [{"role": "user", "content": "Anna is 31 years old."}]
# instructor's schema of a list does not require its only property, `tasks`, so the prompt must tell it.
listed = [{"role": "user", "content": 'Say {"tasks": [{"name": "Anna", "age": 31}, {"name": "Bert", "age": 40}]}'}]


class Person(BaseModel):
    name: Literal["Anna", "Bert"]
    age: int = Field(ge=0, le=150)


def failing_once():
    """Returns a model that refuses its first value, and the list of the values that it has seen."""
    seen = []

    class Refusing(Person):
        @field_validator("age")
        @classmethod
        def check(cls, age):
            seen.append(age)
            if len(seen) == 1:
                raise ValueError("tell the age again")
            return age

    return Refusing, seen


def check_retry(mode):
    structured = instructor.from_openai(OpenAI(**service), mode=mode, model=name)
    limits = {"temperature": 0, "max_output_tokens": 128} if mode == Mode.RESPONSES_TOOLS else brief
    person, completion = structured.create_with_completion(messages=question, response_model=Person, **limits)
    assert isinstance(person, Person), person
    assert completion.usage.total_tokens > 0, completion

    sent = []
    structured.on("completion:kwargs", lambda *args, **kwargs: sent.append(kwargs["messages"]))
    kind, seen = failing_once()
    assert isinstance(structured.create(messages=question, response_model=kind, max_retries=2, **limits), kind)
    assert len(seen) == len(sent) == 2, (seen, sent)
    assert len(sent[1]) > len(question), sent
    if mode == Mode.TOOLS:
        # The call is sent back with a result that has the tool's name.
        assert sent[1][-2]["tool_calls"], sent
        assert (sent[1][-1]["role"], sent[1][-1]["name"]) == ("tool", kind.__name__), sent


def check_partial(mode):
    structured = instructor.from_openai(OpenAI(**service), mode=mode, model=name)
    partial = list(structured.create_partial(messages=question, response_model=Person, **brief))
    assert len(partial) > 1, partial
    assert Person.model_validate(partial[-1].model_dump()), partial


def check_iterable(mode):
    structured = instructor.from_openai(OpenAI(**service), mode=mode, model=name)
    people = list(structured.create_iterable(messages=listed, response_model=Person, **brief))
    assert people, mode
    assert all(isinstance(each, Person) for each in people), people


async def check_async():
    async with AsyncOpenAI(**service) as client:
        structured = instructor.from_openai(client, model=name)
        kind, seen = failing_once()
        person = await structured.create(messages=question, response_model=kind, max_retries=2, **brief)
        assert isinstance(person, kind), person
        assert len(seen) == 2, seen
        partial = [each async for each in structured.create_partial(messages=question, response_model=Person, **brief)]
        assert len(partial) > 1, partial


structured = instructor.from_provider(f"openai/{name}", **service)
assert isinstance(structured.create(messages=question, response_model=Person, **brief), Person)
for mode in (Mode.TOOLS, Mode.JSON_SCHEMA, Mode.RESPONSES_TOOLS):
    check_retry(mode)
for mode in (Mode.TOOLS, Mode.JSON_SCHEMA):
    check_partial(mode)
check_iterable(Mode.JSON_SCHEMA)
asyncio.run(check_async())
