"""Semantic Kernel: chat whole and streamed, functions of a plugin that the model calls, agents with names, a schema."""

import asyncio
import sys
from enum import Enum
from typing import Annotated, Literal

from openai import AsyncOpenAI
from pydantic import BaseModel
from semantic_kernel import Kernel
from semantic_kernel.agents import (
    ChatCompletionAgent,
    ChatHistoryAgentThread,
    GroupChatOrchestration,
    RoundRobinGroupChatManager,
)
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion, OpenAIChatPromptExecutionSettings
from semantic_kernel.contents import ChatHistory, FunctionCallContent, FunctionResultContent
from semantic_kernel.functions import KernelArguments, kernel_function

url, name = sys.argv[1:]
client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
chat = OpenAIChatCompletion(ai_model_id=name, async_client=client)
COMMON = {"temperature": 0, "max_tokens": 48}
told = []


class Mood(BaseModel):
    mood: Literal["happy", "sad"]


class Branch(str, Enum):
    harbour = "harbour"
    market = "market"


class Library:
    @kernel_function(name="opening_time", description="When a library opens.")
    def opening_time(self, library: Annotated[Branch, "The library's name"]) -> str:
        told.append(library.value)
        return f"The {library.value} library opens at 9."


def settings(**fields):
    return OpenAIChatPromptExecutionSettings(**COMMON, **fields)


def history():
    messages = ChatHistory(system_message="Be brief.")
    messages.add_user_message("When does the harbour library open?")
    return messages


def kernel_with_library():
    kernel = Kernel()
    kernel.add_service(chat)
    kernel.add_plugin(Library(), plugin_name="library")
    return kernel


def calls_and_results(messages):
    items = [item for message in messages for item in message.items]
    return [[item for item in items if isinstance(item, kind)] for kind in (FunctionCallContent, FunctionResultContent)]


async def without_functions():
    whole = await chat.get_chat_message_content(history(), settings())
    assert str(whole), whole
    assert whole.finish_reason in ("stop", "length"), whole
    assert whole.metadata["usage"].completion_tokens > 0, whole.metadata
    two = await chat.get_chat_message_contents(history(), settings(number_of_responses=2))
    assert len(two) == 2, two
    assert all(str(each) for each in two), two

    chunks = [chunk async for chunk in chat.get_streaming_chat_message_content(history(), settings())]
    assert len([chunk for chunk in chunks if str(chunk)]) > 1, chunks
    assert chunks[-1].metadata["usage"].completion_tokens > 0, chunks[-1]
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert str(total) == "".join(str(chunk) for chunk in chunks), total

    prompted = await kernel_with_library().invoke_prompt(
        "Write one line about {{$topic}}.", arguments=KernelArguments(settings=settings(), topic="rain")
    )
    assert str(prompted), prompted


async def structured():
    messages = ChatHistory()
    messages.add_user_message("I won! Am I happy or sad? Answer as JSON.")
    whole = await chat.get_chat_message_content(messages, settings(response_format=Mood))
    assert Mood.model_validate_json(str(whole)), whole
    pieces = [
        str(each) async for each in chat.get_streaming_chat_message_content(messages, settings(response_format=Mood))
    ]
    assert Mood.model_validate_json("".join(pieces)), pieces
    plain = await chat.get_chat_message_content(messages, settings(response_format={"type": "json_object"}))
    assert str(plain).lstrip().startswith("{"), plain


async def functions():
    kernel = kernel_with_library()

    # Required: the function runs, and the model answers with what it gave.
    told.clear()
    messages = history()
    forced = settings(function_choice_behavior=FunctionChoiceBehavior.Required(), parallel_tool_calls=False)
    answer = await chat.get_chat_message_content(messages, forced, kernel=kernel)
    assert str(answer), answer
    [call], [result] = calls_and_results(messages)
    assert (call.function_name, call.plugin_name, call.id) == ("opening_time", "library", result.id), call
    assert len(told) == 1, told
    assert result.result == f"The {told[0]} library opens at 9.", result

    # The same, streamed: then it is for the caller to ask for the answer.
    told.clear()
    messages = history()
    chunks = [chunk async for chunk in chat.get_streaming_chat_message_content(messages, forced, kernel=kernel)]
    assert len(told) == 1, told
    assert chunks, messages
    [call], [result] = calls_and_results(messages)
    assert (call.function_name, call.id) == ("opening_time", result.id), call
    assert result.result == f"The {told[0]} library opens at 9.", result
    chunks = [chunk async for chunk in chat.get_streaming_chat_message_content(messages, settings())]
    assert "".join(str(chunk) for chunk in chunks), chunks

    # The caller runs the function.
    told.clear()
    behavior = FunctionChoiceBehavior.Required(auto_invoke=False)
    asked = await chat.get_chat_message_content(
        history(), settings(function_choice_behavior=behavior, parallel_tool_calls=False), kernel=kernel
    )
    assert asked.finish_reason == "tool_calls", asked
    assert [item.name for item in asked.items if isinstance(item, FunctionCallContent)] == ["library-opening_time"], (
        asked
    )
    assert told == [], told

    # Auto and None: the model may answer without a call, and must.
    messages = history()
    free = settings(function_choice_behavior=FunctionChoiceBehavior.Auto())
    answer = await chat.get_chat_message_content(messages, free, kernel=kernel)
    calls, results = calls_and_results(messages)
    assert [each.id for each in calls] == [each.id for each in results], messages
    assert str(answer) or calls, answer
    messages = history()
    none = settings(function_choice_behavior=FunctionChoiceBehavior.NoneInvoke())
    answer = await chat.get_chat_message_content(messages, none, kernel=kernel)
    assert str(answer), answer
    assert calls_and_results([*messages, answer])[0] == [], answer


async def one_agent():
    agent = ChatCompletionAgent(
        service=chat,
        name="Librarian",
        instructions="Be brief.",
        plugins=[Library()],
        function_choice_behavior=FunctionChoiceBehavior.Required(),
        arguments=KernelArguments(settings=settings(parallel_tool_calls=False)),
    )
    told.clear()
    thread = ChatHistoryAgentThread()
    response = await agent.get_response("When does the market library open?", thread=thread)
    assert (response.message.name, response.message.role) == ("Librarian", "assistant"), response
    assert str(response), response
    assert len(told) == 1, told
    # The second question carries the first answer, its call and its result.
    none = KernelArguments(settings=settings(function_choice_behavior=FunctionChoiceBehavior.NoneInvoke()))
    pieces = [each async for each in agent.invoke_stream("Thank you. Say bye.", thread=thread, arguments=none)]
    assert "".join(str(each) for each in pieces), pieces
    assert all(each.message.name == "Librarian" for each in pieces), pieces
    assert len(told) == 1, told
    named = [message.name async for message in thread.get_messages() if message.role == "assistant" and message.content]
    assert named == ["Librarian", "Librarian"], named


async def group():
    """The agents' names go along with their messages."""
    said = []
    arguments = KernelArguments(settings=settings())
    members = [
        ChatCompletionAgent(service=chat, name=each, description=each, instructions=instructions, arguments=arguments)
        for each, instructions in (("Poet", "Write one line of a poem."), ("Critic", "Criticise the last line."))
    ]
    orchestration = GroupChatOrchestration(
        members=members,
        manager=RoundRobinGroupChatManager(max_rounds=4),
        agent_response_callback=lambda message: said.append((message.name, message.content)),
    )
    runtime = InProcessRuntime()
    runtime.start()
    result = await orchestration.invoke("Write about rain.", runtime)
    last = await result.get(timeout=120)
    await runtime.stop_when_idle()
    assert [each for each, _ in said] == ["Poet", "Critic", "Poet", "Critic"], said
    assert all(content for _, content in said), said
    assert str(last), last


async def main():
    await without_functions()
    await structured()
    await functions()
    await one_agent()
    await group()
    await client.close()


asyncio.run(main())
