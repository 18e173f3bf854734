"""Anthropic's own package: whole, streamed, tools, stop sequences, a schema, counted tokens, typed errors, asynchronous."""

import asyncio
import json
import sys

import anthropic

url, model = sys.argv[1:]
host = url.removesuffix("/v1")
client = anthropic.Anthropic(base_url=host, api_key="none", max_retries=0)
QUESTION = [{"role": "user", "content": "Say hello."}]
zone = {"type": "object", "properties": {"zone": {"type": "string", "maxLength": 20}}, "required": ["zone"]}
TOOLS = [{"name": "clock", "description": "The time in a zone", "input_schema": zone}]
common = {"model": model, "max_tokens": 32, "extra_body": {"temperature": 0}}


def refused(kind, **fields):
    """Returns the error of that kind that a request raises."""
    try:
        client.messages.create(**{**common, "messages": QUESTION, **fields})
    except kind as error:
        return error
    raise AssertionError("the request was not refused")


# Whole and streamed.
whole = client.messages.create(**common, messages=QUESTION, system=[{"type": "text", "text": "Be brief."}])
(block,) = [each for each in whole.content if each.type == "text"]
assert block.text, whole
assert whole.stop_reason in ("end_turn", "max_tokens"), whole
assert whole.usage.output_tokens > 0, whole
assert whole._request_id, whole
with client.messages.stream(**common, messages=QUESTION, system="Be brief.") as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert text == "".join(each.text for each in final.content), final
assert final.usage.input_tokens + final.usage.cache_read_input_tokens > 0, final
assert final.usage.cache_read_input_tokens > 0, final
kinds = [event.type for event in client.messages.create(**common, messages=QUESTION, stream=True)]
assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"]), kinds

# The tokens of a prompt are what an answer to it reports.
for extra in ({}, {"system": "Be brief.", "tools": TOOLS}):
    counted = client.messages.count_tokens(model=model, messages=QUESTION, **extra).input_tokens
    usage = client.messages.create(**common, messages=QUESTION, **extra).usage
    assert counted == usage.input_tokens + usage.cache_read_input_tokens, (counted, usage)

# Stop sequences: a letter that any answer has, and one that none has.
stopped = client.messages.create(**common, messages=QUESTION, system="Be brief.", stop_sequences=["\x01", "e"])
assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "e"), stopped
assert "e" not in "".join(each.text for each in stopped.content), stopped

# Tools: a call, its result, and the answer.
asked = [{"role": "user", "content": "Which time is it in Paris?"}]
choice = {"type": "tool", "name": "clock"}
called = client.messages.create(**{**common, "max_tokens": 200}, messages=asked, tools=TOOLS, tool_choice=choice)
(call,) = [each for each in called.content if each.type == "tool_use"]
assert (called.stop_reason, call.name, call.id[:6]) == ("tool_use", "clock", "toolu_"), called
assert isinstance(call.input["zone"], str), called
with client.messages.stream(**{**common, "max_tokens": 200}, messages=asked, tools=TOOLS, tool_choice=choice) as stream:
    (again,) = [each for each in stream.get_final_message().content if each.type == "tool_use"]
assert isinstance(again.input["zone"], str), again
history = [
    *asked,
    {"role": "assistant", "content": called.content},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "It is 9 o'clock."}]},
]
assert client.messages.create(**common, messages=history, tools=TOOLS).content

# A schema, and an answer that the caller has begun.
config = {"format": {"type": "json_schema", "schema": zone}}
formatted = client.messages.create(**{**common, "max_tokens": 200}, messages=asked, output_config=config)
assert isinstance(json.loads(formatted.content[0].text)["zone"], str), formatted
begun = [*QUESTION, {"role": "assistant", "content": "Hello"}]
assert client.messages.create(**common, messages=begun).role == "assistant"

# The model.
(card,) = client.models.list().data
assert (card.id, client.models.retrieve(model).id) == (model, model), card
assert card.max_input_tokens > 0, card

# Errors.
error = refused(anthropic.NotFoundError, model="no-such-model")
assert error.type == "not_found_error", error
assert error.request_id, error
assert refused(anthropic.BadRequestError, max_tokens=0).type == "invalid_request_error"
image = {"type": "image", "source": {"type": "url", "url": "http://example.com/a.png"}}
error = refused(anthropic.BadRequestError, messages=[{"role": "user", "content": [image]}])
assert "messages[0].content[0].type" in error.message, error
error = refused(anthropic.BadRequestError, tools=[{"type": "web_search_20250305", "name": "web_search"}])
assert "web_search_20250305" in error.message, error


async def main() -> None:
    async with anthropic.AsyncAnthropic(base_url=host, api_key="none", max_retries=0) as asynchronous:
        answer = await asynchronous.messages.create(**common, messages=QUESTION, system="Be brief.")
        assert answer.content[0].text, answer
        async with asynchronous.messages.stream(**common, messages=QUESTION) as stream:
            async for _ in stream.text_stream:
                break  # a user interrupts


asyncio.run(main())
