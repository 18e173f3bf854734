"""LangChain: ChatOpenAI whole, streamed, with tools and a round of their results."""

import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

url, model = sys.argv[1:]


@tool
def opening_time(library: str) -> str:
    """When a library opens."""
    return f"{library} opens at 9."


chat = ChatOpenAI(base_url=url, api_key="none", model=model, temperature=0, max_tokens=64)
whole = chat.invoke("Say hello.")
assert whole.content, whole
assert whole.usage_metadata["output_tokens"] > 0, whole.usage_metadata
streamed = list(chat.stream("Say hello.", stream_usage=True))
assert "".join(chunk.content for chunk in streamed), streamed
assert any(chunk.usage_metadata for chunk in streamed), streamed

bound = chat.bind_tools([opening_time], tool_choice="opening_time")
question = HumanMessage("When does the harbour library open?")
called = bound.invoke([question])
assert [call["name"] for call in called.tool_calls] == ["opening_time"], called
assert isinstance(called.tool_calls[0]["args"]["library"], str), called
total = None
for chunk in bound.stream([question]):
    total = chunk if total is None else total + chunk
assert [call["name"] for call in total.tool_calls] == ["opening_time"], total
result = ToolMessage(opening_time.invoke(called.tool_calls[0]["args"]), tool_call_id=called.tool_calls[0]["id"])
assert chat.invoke([question, called, result]).content
