"""Measures the wait of a short request that arrives while a long prompt is computed, and the delay that it causes to the long one.

    python -m benchmarks.newcomer [--model default] [--tokens 6400] [--every 0.1]

Both are measured alone first. Then the long request is sent repeatedly, each time with one newcomer at another moment.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load import Endpoint, Prompt
from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.prompts import Prompts
from benchmarks.servers import Ours, Setting
from llmcore.llama.model import Model
from llmcore.machine.threads import decide_threads

N_SLOTS = 4
N_SHORT, N_ANSWER = 20, 2


@dataclass(frozen=True)
class NewcomerWait:
    """A newcomer that arrived after the part `at` of the long prompt's time alone; times to first tokens in seconds."""

    at: float
    short_s: float
    long_s: float


class Newcomers:
    """Sends a long prompt and short ones; no prompt is sent twice, so that none is cached."""

    def __init__(self, endpoint: Endpoint, prompts: Prompts, n_long: int) -> None:
        self._endpoint = endpoint
        self._prompts = prompts
        self._n_long = n_long
        self._n_sent = 0

    async def alone(self, n_tokens: int) -> float:
        return (await self._endpoint.ask(self._prompt(n_tokens), N_ANSWER)).ttft_s

    async def measure(self, parts: Sequence[float]) -> tuple[float, float, list[NewcomerWait]]:
        """Returns the seconds to the first token of a short and of a long request alone, and the visits."""
        await self.alone(N_SHORT)
        short_s = min([await self.alone(N_SHORT) for _ in range(3)])
        long_s = await self.alone(self._n_long)
        return short_s, long_s, [await self._visit(part, part * long_s) for part in parts]

    async def _visit(self, part: float, after_s: float) -> NewcomerWait:
        long, short = self._prompt(self._n_long), self._prompt(N_SHORT)
        call = await self._endpoint.start(long.text, N_ANSWER)
        await asyncio.sleep(after_s)
        newcomer = await self._endpoint.ask(short, N_ANSWER)
        answer = await self._endpoint.finish(call, long, N_ANSWER)
        return NewcomerWait(part, newcomer.ttft_s, answer.ttft_s)

    def _prompt(self, n_tokens: int) -> Prompt:
        self._n_sent += 1
        return self._prompts.make(n_tokens, "newcomer", self._n_sent)


def lines(short_s: float, long_s: float, visits: Sequence[NewcomerWait]) -> list[str]:
    """Lines of the table."""
    return [
        f"{machine()}; alone: short {short_s:.2f} s, long {long_s:.2f} s.",
        "",
        "| newcomer arrives after, of the long one's time alone | its first token after, s | × alone | long one × alone |",
        "|---|---|---|---|",
        *(
            f"| {each.at:.0%} | {each.short_s:.2f} | {each.short_s / short_s:.1f} | {each.long_s / long_s:.2f} |"
            for each in visits
        ),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--model", default="default", help="1b, default, or the path of a GGUF file")
    parser.add_argument("--tokens", type=int, default=6400, help="of the long prompt")
    parser.add_argument("--every", type=float, default=0.1, help="part of the long prompt's time between two visits")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        path = named_model(args.model)
    except ValueError as error:
        print(f"benchmarks.newcomer: {error}", file=sys.stderr)
        return 1
    setting = Setting(path, decide_threads(args.threads).n_threads, N_SLOTS, args.tokens + 2 * N_SHORT)
    parts = [(i + 0.5) * args.every for i in range(max(1, round(1 / args.every)))]
    with Model(path, vocab_only=True) as model, Ours(()).start(setting) as service:
        prompts = Prompts(model)
        endpoint = Endpoint(service.base_url, prompts.logit_bias)
        asyncio.run(endpoint.connect())
        found = asyncio.run(Newcomers(endpoint, prompts, args.tokens).measure(parts))
    print("\n".join(lines(*found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
