"""PydanticAI: agents whole and streamed, with tools, history and structured outputs, by chat completions and by responses."""

import asyncio
import sys
from typing import Literal

from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelRetry, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

url, name = sys.argv[1:]
provider = OpenAIProvider(base_url=url, api_key="none")
brief = {"temperature": 0, "max_tokens": 64}


class Person(BaseModel):
    """A person."""

    name: Literal["Anna", "Bert"]
    age: int = Field(ge=0, le=150)


class Note(BaseModel):
    """A note."""

    text: str = ""


async def check_texts(model):
    agent = Agent(model, instructions="Be brief.", model_settings=brief)
    first = await agent.run("Say hello.")
    assert first.output, first
    assert first.usage.output_tokens > 0, first
    later = await agent.run("And now goodbye.", message_history=first.all_messages())
    assert later.output, later
    assert later.usage.input_tokens > first.usage.input_tokens, later

    async with agent.run_stream("Say hello.") as streamed:
        deltas = [delta async for delta in streamed.stream_text(delta=True, debounce_by=None)]
        assert "".join(deltas) == await streamed.get_output(), deltas
    assert len(deltas) > 1, deltas
    assert streamed.usage.output_tokens > 0, streamed


async def check_outputs(model):
    # A tool that the model must call, a schema that the answer follows, and a schema that only the prompt tells.
    for output_type in (Person, ToolOutput(Person, strict=True), NativeOutput(Person)):
        agent = Agent(model, output_type=output_type, model_settings=brief)
        result = await agent.run("Anna is 31 years old.")
        assert isinstance(result.output, Person), result
        async with agent.run_stream("Anna is 31 years old.") as streamed:
            partial = [each async for each in streamed.stream_output(debounce_by=None)]
        assert isinstance(partial[-1], Person), partial
    prompted = PromptedOutput(Note, template='Answer with {{"text": "Hello"}}, as this schema has it: {schema}')
    agent = Agent(model, output_type=prompted, model_settings=brief)
    assert isinstance((await agent.run("Say hello.")).output, Note)


async def check_retry(model):
    seen = []
    agent = Agent(model, output_type=Person, model_settings=brief, retries=1)

    @agent.output_validator
    def twice(person: Person) -> Person:
        seen.append(person)
        if len(seen) == 1:
            raise ModelRetry("Tell it again.")
        return person

    result = await agent.run("Anna is 31 years old.")
    assert isinstance(result.output, Person), result
    assert len(seen) == 2, seen


async def check_tools(model):
    asked = []

    def settings(context):
        # The model must call the tool first, and then answer.
        return {**brief, "tool_choice": ["opening_time"] if context.run_step == 1 else "none"}

    agent = Agent(model, model_settings=settings)

    @agent.tool_plain
    def opening_time(library: Literal["harbour", "central"]) -> str:
        """When a library opens."""
        asked.append(library)
        return f"The {library} library opens at 9."

    @agent.tool_plain
    def closing_time(library: Literal["harbour", "central"]) -> str:
        """When a library closes."""
        raise AssertionError(library)

    question = "When does the harbour library open?"
    result = await agent.run(question)
    assert len(asked) == 1, asked
    [returned] = [
        part for message in result.all_messages() for part in message.parts if part.part_kind == "tool-return"
    ]
    assert returned.content == f"The {asked[0]} library opens at 9.", returned
    assert result.output, result
    async with agent.run_stream(question, message_history=result.all_messages()) as streamed:
        assert await streamed.get_output(), streamed
    assert len(asked) == 2, asked


async def check_allowed_tools(model):
    def settings(context):
        return {**brief, "tool_choice": ["first", "second"] if context.run_step == 1 else "none"}

    agent = Agent(model, model_settings=settings)
    called = []
    for word in ("first", "second", "third"):
        agent.tool_plain(
            lambda word=word: called.append(word) or "Done.", name=word, description=f"Does the {word} thing."
        )
    assert (await agent.run("Do the third thing.")).output
    assert called, called
    assert set(called) <= {"first", "second"}, called


async def main():
    for kind in (OpenAIChatModel, OpenAIResponsesModel):
        model = kind(name, provider=provider)
        await check_texts(model)
        await check_outputs(model)
        await check_retry(model)
        await check_tools(model)
        await check_allowed_tools(model)


asyncio.run(main())
