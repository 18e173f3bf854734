"""A conversation on the terminal. An empty line or the end of the input ends it."""

from __future__ import annotations

import sys
from typing import Any

from llmcore import LLM

messages: list[Any] = [{"role": "system", "content": "You are a helpful assistant. Answer in one sentence."}]

with LLM(n_ctx=4096) as llm:
    while True:
        print("> ", end="", flush=True)
        line = sys.stdin.readline().strip()
        if not line:
            break
        messages.append({"role": "user", "content": line})
        stream = llm.chat(messages, max_tokens=200, stream=True)
        for piece in stream:
            print(piece, end="", flush=True)
        print()
        messages.append(stream.completion.message)  # what was computed stays in the cache for the next turn
