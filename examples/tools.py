"""Functions that the model may call, and the loop that runs them."""

from __future__ import annotations

import json
from typing import Any

from llmcore import LLM


def get_weather(city: str) -> str:
    return json.dumps({"city": city, "degrees": 18, "sky": "clear"})


FUNCTIONS = {"get_weather": get_weather}
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 30}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather in a city", "parameters": CITY}}
]

messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
with LLM() as llm:
    # A small model has to be told to call; "auto" leaves it to a larger one.
    choice: Any = "required"
    for _ in range(3):
        answer = llm.chat(
            messages, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, max_tokens=80, temperature=0
        )
        messages.append(answer.message)
        if not answer.tool_calls:
            break
        for call in answer.tool_calls:
            result = FUNCTIONS[call.name](**json.loads(call.arguments))
            print(f"{call.name}({call.arguments}) -> {result}")
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        choice = "none"
    print(answer.text)
