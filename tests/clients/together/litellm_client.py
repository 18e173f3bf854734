"""LiteLLM: whole, streamed, and a tool call put together from its chunks."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the network for prices

import litellm

url, model = sys.argv[1:]
common = {"model": f"openai/{model}", "api_base": url, "api_key": "none", "temperature": 0}
question = [{"role": "user", "content": "Which time is it in Paris?"}]
zone = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
tools = [{"type": "function", "function": {"name": "clock", "parameters": zone}}]

whole = litellm.completion(messages=question, max_tokens=16, **common)
assert whole.choices[0].message.content, whole
chunks = list(litellm.completion(messages=question, max_tokens=16, stream=True, **common))
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks), chunks

choice = {"type": "function", "function": {"name": "clock"}}
chunks = list(litellm.completion(messages=question, tools=tools, tool_choice=choice, stream=True, **common))
built = litellm.stream_chunk_builder(chunks, messages=question)
[call] = built.choices[0].message.tool_calls
assert call.function.name == "clock", built
assert isinstance(json.loads(call.function.arguments)["zone"], str), built
assert built.choices[0].finish_reason == "tool_calls", built
