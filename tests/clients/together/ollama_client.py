"""Ollama's own package: chat whole, streamed, with tools and a schema; generate; the model's facts; the asynchronous client."""

import asyncio
import json
import sys

from ollama import AsyncClient, Client, ResponseError

url, model = sys.argv[1:]
host = url.removesuffix("/v1")
client = Client(host)
QUESTION = [{"role": "user", "content": "Say hello."}]
OPTIONS = {"temperature": 0, "num_predict": 32, "num_ctx": 2048, "seed": 1}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}


def opening_time(library: str) -> str:
    """When a library opens.

    Args:
      library: its name
    """
    return f"{library} opens at 9."


def refused(call):
    """Returns the error that the call raises."""
    try:
        call()
    except ResponseError as error:
        return error
    raise AssertionError("the request was not refused")


# The model.
(listed,) = client.list().models
assert listed.model == f"{model}:latest", listed
assert listed.size > 0, listed
shown = client.show(model)
assert "tools" in shown.capabilities, shown
assert shown.modelinfo[f"{shown.details.family}.context_length"] > 0, shown
(running,) = client.ps().models
assert (running.model, running.digest) == (listed.model, listed.digest), running
assert client.pull(model).status == "success"
assert [part.status for part in client.pull(model, stream=True)] == ["success"]

# Chat.
whole = client.chat(model, QUESTION, options=OPTIONS, keep_alive=-1)
assert whole.message.content, whole
assert (whole.done, whole.prompt_eval_count > 0, whole.eval_duration > 0) == (True, True, True), whole
parts = list(client.chat(listed.model, QUESTION, stream=True, options=OPTIONS, think=False, keep_alive="5m"))
assert "".join(part.message.content for part in parts), parts
assert [part.done for part in parts].index(True) == len(parts) - 1, parts
assert parts[-1].done_reason in ("stop", "length"), parts[-1]
formatted = client.chat(model, QUESTION, format=SCHEMA, options=OPTIONS)
assert list(json.loads(formatted.message.content)) == ["city"], formatted
assert client.chat(model, QUESTION, format="json", options=OPTIONS).message.content.lstrip().startswith("{")

# Tools. Nothing forces a call, so that a small model may answer without one.
called = client.chat(
    model, [{"role": "user", "content": "When does the harbour library open?"}], tools=[opening_time], options=OPTIONS
)
for call in called.message.tool_calls or ():
    assert isinstance(call.function.arguments, dict), call
history = [
    *QUESTION,
    {"role": "assistant", "tool_calls": [{"function": {"name": "opening_time", "arguments": {"library": "x"}}}]},
    {"role": "tool", "tool_name": "opening_time", "content": opening_time("x")},
]
assert client.chat(model, history, tools=[opening_time], options=OPTIONS).message.content

# Generate.
assert client.generate(model, "Say hello.", system="Be brief.", options=OPTIONS).response
raw = list(client.generate(model, "One, two, three,", raw=True, stream=True, options=OPTIONS))
assert "".join(part.response for part in raw), raw
assert client.generate(model, keep_alive=-1).done

# Errors.
error = refused(lambda: client.chat("no-such-model", QUESTION))
assert (error.status_code, error.error) == (404, "model 'no-such-model' not found"), error
error = refused(lambda: next(client.chat("no-such-model", QUESTION, stream=True)))
assert (error.status_code, error.error) == (404, "model 'no-such-model' not found"), error
assert refused(lambda: client.delete(model)).status_code == 400


async def main() -> None:
    asynchronous = AsyncClient(host)
    stream = await asynchronous.chat(model, QUESTION, stream=True, options=OPTIONS)
    assert "".join([part.message.content async for part in stream])
    # Home Assistant's request: it gives the stream up when the user interrupts.
    stream = await asynchronous.chat(
        model,
        [{"role": "system", "content": "You are a voice assistant."}, {"role": "user", "content": "Tell me a story."}],
        tools=[{"type": "function", "function": {"name": "HassTurnOn", "parameters": {"type": "object"}}}],
        stream=True,
        think=False,
        options={"num_ctx": 8192},
        keep_alive="-1s",
    )
    async for _ in stream:
        break
    await stream.aclose()
    assert (await asynchronous.list()).models


asyncio.run(main())
