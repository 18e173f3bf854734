"""The same words for asyncio. With isolated=True the model runs in a child process, which is restarted if it crashes."""

from __future__ import annotations

import asyncio

from llmcore import AsyncLLM


async def main() -> None:
    async with AsyncLLM(isolated=True, n_ctx=2048) as llm:
        answers = await asyncio.gather(
            llm.chat([{"role": "user", "content": "Name a fruit."}], max_tokens=16),
            llm.chat([{"role": "user", "content": "Name a river."}], max_tokens=16),
        )
        print(*answers, sep="\n")

        async for piece in llm.generate("Once upon a time", max_tokens=24, stream=True):
            print(piece, end="", flush=True)
        print()


if __name__ == "__main__":
    asyncio.run(main())
