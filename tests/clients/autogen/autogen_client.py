"""AutoGen: an agent whole and streamed, a tool, a round of named agents, a model that chooses who speaks, structured answers."""

import asyncio
import json
import sys
from typing import Literal

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TaskResult
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import (
    ModelClientStreamingChunkEvent,
    StructuredMessage,
    TextMessage,
    ToolCallExecutionEvent,
    ToolCallRequestEvent,
)
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat
from autogen_core.models import (
    AssistantMessage,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    ModelFamily,
    SystemMessage,
    UserMessage,
)
from autogen_core.tools import FunctionTool
from autogen_ext.models.openai import OpenAIChatCompletionClient
from pydantic import BaseModel

url, name = sys.argv[1:]
INFO = {
    "vision": False,
    "function_calling": True,
    "json_output": True,
    "structured_output": True,
    "family": ModelFamily.UNKNOWN,
}
told = []


class Mood(BaseModel):
    mood: Literal["happy", "sad"]


async def opening_time(library: Literal["harbour", "market"]) -> str:
    """When a library opens."""
    told.append(library)
    return f"The {library} library opens at 9."


def connected(**settings):
    return OpenAIChatCompletionClient(
        model=name, base_url=url, api_key="none", model_info=INFO, temperature=0, max_tokens=48, **settings
    )


async def one_agent(client):
    agent = AssistantAgent("librarian", client, system_message="Be brief.")
    result = await agent.run(task="Say hello.")
    assert result.messages[-1].source == "librarian", result
    assert result.messages[-1].content, result
    assert result.messages[-1].models_usage.completion_tokens > 0, result
    assert result.messages[-1].models_usage.prompt_tokens > 0, result

    streaming = AssistantAgent("librarian", client, system_message="Be brief.", model_client_stream=True)
    events = [event async for event in streaming.run_stream(task="Say hello.")]
    pieces = [event.content for event in events if isinstance(event, ModelClientStreamingChunkEvent)]
    *_, answer, end = events
    assert isinstance(answer, TextMessage), events
    assert isinstance(end, TaskResult), events
    assert "".join(pieces) == answer.content, events
    assert len(pieces) > 1, pieces


async def streamed_usage(client):
    question = [SystemMessage(content="Be brief."), UserMessage(content="Say hello.", source="reader")]
    chunks = [chunk async for chunk in client.create_stream(question, include_usage=True)]
    assert chunks[-1].content == "".join(chunks[:-1]), chunks
    assert chunks[-1].usage.completion_tokens > 0, chunks[-1]
    assert chunks[-1].usage.prompt_tokens > 0, chunks[-1]


async def tools(client):
    """Calls that are forced, and the round by which their results come back."""
    tool = FunctionTool(opening_time, description="When a library opens.", strict=True)
    question = [UserMessage(content="When does the harbour library open?", source="reader")]
    for choice in (tool, "required"):
        called = await client.create(question, tools=[tool], tool_choice=choice)
        [call] = called.content
        assert (called.finish_reason, call.name) == ("function_calls", "opening_time"), called
        assert json.loads(call.arguments)["library"] in ("harbour", "market"), call
    *_, streamed = [each async for each in client.create_stream(question, tools=[tool], tool_choice="required")]
    assert [each.name for each in streamed.content] == ["opening_time"], streamed
    assert json.loads(streamed.content[0].arguments)["library"] in ("harbour", "market"), streamed
    text = await tool.run_json(json.loads(call.arguments), cancellation_token=None)
    result = FunctionExecutionResult(content=text, name=tool.name, call_id=call.id, is_error=False)
    history = [
        *question,
        AssistantMessage(content=called.content, source="librarian"),
        FunctionExecutionResultMessage(content=[result]),
    ]
    answer = await client.create(history, tools=[tool], tool_choice="none")
    assert isinstance(answer.content, str), answer
    assert answer.content, answer


async def agent_with_tool():
    """Every agent leaves the choice to its model, so that the client itself must insist."""
    told.clear()
    client = connected(parallel_tool_calls=False, extra_body={"tool_choice": "required"})
    agent = AssistantAgent("librarian", client, tools=[opening_time], reflect_on_tool_use=False)
    result = await agent.run(task="When does the market library open?")
    await client.close()
    [asked] = [each for each in result.messages if isinstance(each, ToolCallRequestEvent)]
    [given] = [each for each in result.messages if isinstance(each, ToolCallExecutionEvent)]
    assert len(told) == 1, told
    assert given.content[0].content == f"The {told[0]} library opens at 9.", given
    assert not given.content[0].is_error, given
    assert (asked.content[0].id, asked.content[0].name) == (given.content[0].call_id, "opening_time"), result
    assert result.messages[-1].content == given.content[0].content, result


async def teams(client):
    """The agents' names go along with their messages."""
    poet = AssistantAgent("poet", client, system_message="Write one line of a poem.")
    critic = AssistantAgent("critic", client, system_message="Criticise the last line.")
    end = MaxMessageTermination(5)
    result = await RoundRobinGroupChat([poet, critic], termination_condition=end).run(task="Write about rain.")
    assert [each.source for each in result.messages] == ["user", "poet", "critic", "poet", "critic"], result
    assert all(each.content for each in result.messages), result

    await poet.on_reset(None)
    await critic.on_reset(None)
    end = MaxMessageTermination(3)
    # A small model may name neither: then the first one speaks.
    chosen = SelectorGroupChat([poet, critic], client, termination_condition=end, max_selector_attempts=1)
    result = await chosen.run(task="Write about rain.")
    assert len(result.messages) == 3, result
    assert {each.source for each in result.messages[1:]} <= {"poet", "critic"}, result


async def structured(client):
    agent = AssistantAgent("judge", client, system_message="Judge the mood.", output_content_type=Mood)
    result = await agent.run(task="I won!")
    assert isinstance(result.messages[-1], StructuredMessage), result
    assert isinstance(result.messages[-1].content, Mood), result
    question = [UserMessage(content="I won! Answer as JSON.", source="reader")]
    parsed = await client.create(question, json_output=Mood)
    assert Mood.model_validate_json(parsed.content), parsed
    *_, streamed = [each async for each in client.create_stream(question, json_output=Mood)]
    assert Mood.model_validate_json(streamed.content), streamed
    plain = await client.create(question, json_output=True)
    assert plain.content.lstrip().startswith("{"), plain


async def main():
    client = connected(parallel_tool_calls=False)
    await one_agent(client)
    await streamed_usage(client)
    await tools(client)
    await teams(client)
    await structured(client)
    assert client.total_usage().completion_tokens > 0
    await client.close()
    await agent_with_tool()


asyncio.run(main())
