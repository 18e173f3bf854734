"""The OpenAI Agents SDK: an agent calls a tool, is told what it gave, and answers. By chat completions and by responses."""

import asyncio
import sys

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

url, name = sys.argv[1:]
set_tracing_disabled(True)
asked = []


@function_tool
def clock(zone: str) -> str:
    """The time in a zone."""
    asked.append(zone)
    return "It is 9."


async def main():
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        for kind in (OpenAIChatCompletionsModel, OpenAIResponsesModel):
            asked.clear()
            settings = ModelSettings(tool_choice="clock", max_tokens=64, temperature=0, parallel_tool_calls=False)
            model = kind(model=name, openai_client=client)
            agent = Agent(name="Clock", instructions="Be brief.", tools=[clock], model=model, model_settings=settings)
            result = await Runner.run(agent, "What time is it in Paris?", max_turns=3)
            assert len(asked) == 1, (kind, asked)
            assert result.final_output, kind


asyncio.run(main())
