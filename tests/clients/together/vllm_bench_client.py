"""Requests and reading rules of `vllm bench serve`, with its HTTP client (aiohttp): random prompts, answers of a set length."""

import asyncio
import json
import sys

import aiohttp

url, model = sys.argv[1:]
root = url.removesuffix("/v1")
N_OUTPUT = 12
STREAM = {"stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True}


async def read_events(response):
    """Yields the data of each event. Like the benchmark, it strips each piece that arrives, and takes a rest that is whole JSON."""
    rest = ""
    async for piece in response.content.iter_any():
        rest += piece.strip().decode()
        *events, rest = rest.split("\n\n")
        data = rest.removeprefix("data: ")
        try:
            if data != "[DONE]":
                json.loads(data)
            events, rest = [*events, rest], ""
        except json.JSONDecodeError:
            pass
        for event in events:
            if event and not event.startswith(":"):
                yield event.removeprefix("data: ")
    assert not rest, rest


def text_of_completion(choice):
    return choice["text"]


def text_of_chat(choice):
    return choice["delta"].get("content")


async def measure(session, path, body, text_of):
    """Returns the text, the number of chunks that count as tokens, and the usage."""
    text, n_chunks, usage, is_done = "", 0, None, False
    headers = {"Authorization": "Bearer none", "x-request-id": f"bench-{path[-5:]}-0"}
    async with session.post(url + path, json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert "x-llmcore-ignored" not in response.headers, response.headers
        async for data in read_events(response):
            if data == "[DONE]":
                is_done = True
                continue
            chunk = json.loads(data)
            if chunk["choices"]:
                n_chunks += 1
                text += text_of(chunk["choices"][0]) or ""
            elif chunk["usage"]:
                usage = chunk["usage"]
    assert is_done
    return text, n_chunks, usage


async def main():
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/models") as response:
            [card] = (await response.json())["data"]
            assert (card["id"], card["root"]) == (model, model), card
        request = {"model": model, "prompt": "lorem ipsum " * 40, "add_special_tokens": False}
        async with session.post(f"{root}/tokenize", json=request) as response:
            tokens = (await response.json())["tokens"][:32]
        async with session.post(f"{root}/detokenize", json={"model": model, "tokens": tokens}) as response:
            prompt = (await response.json())["prompt"]
        async with session.get(f"{root}/metrics") as response:
            assert response.status == 200

        common = {"model": model, **STREAM}
        penalty = {"repetition_penalty": 1.0, "max_tokens": N_OUTPUT}
        content = [{"type": "text", "text": prompt}]
        chat = {"messages": [{"role": "user", "content": content}], "max_completion_tokens": N_OUTPUT}
        asked = [
            ("/completions", {**common, **penalty, "prompt": prompt, "logprobs": None}, text_of_completion),
            ("/completions", {**common, **penalty, "prompt": tokens, "logprobs": 1}, text_of_completion),
            ("/chat/completions", {**common, **chat}, text_of_chat),
            ("/chat/completions", {**common, **chat, "temperature": 0.0, "top_k": 5}, text_of_chat),
        ]
        for text, n_chunks, usage in await asyncio.gather(*(measure(session, *each) for each in asked)):
            assert text
            assert n_chunks > 1
            assert usage["completion_tokens"] == N_OUTPUT, usage
            assert usage["prompt_tokens"] >= len(tokens), usage


asyncio.run(main())
