"""Compares two ways to route to two replicas behind Ray Serve: by cached prefix, and round robin (extra `ray`).

    python -m benchmarks.ray_affinity [--write-docs]

Several callers hold conversations of several turns at once; some share a system prompt. Each request is streamed, with the whole
history, at temperature 0, to fresh replicas for each side. The hit rate is the part of prompt tokens that were cached, from the
answers' usage; TTFT is measured by the caller, from before the request to the first text. Two replicas of one thread each share
two cores with the callers: times only compare the sides, hit rates are valid anywhere.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from benchmarks.cluster import PLAIN, Cluster
from benchmarks.machine import machine
from benchmarks.report import write_section

SIDES = ("affinity", "round-robin")
N_CALLERS = 4  # at once: two for each replica
N_CONVERSATIONS = 9
N_TURNS = 4
N_SYSTEM_PROMPTS = 3
N_ANSWER = 16
# Ray's names of the processes between a caller and a replica.
ROUTING = re.compile(r"ray::(ProxyActor|ServeReplica:llmcore:ingress)")
WORDS = (
    "harbour",
    "library",
    "lamp",
    "river",
    "bridge",
    "garden",
    "window",
    "letter",
    "market",
    "station",
    "winter",
    "music",
)


@dataclass(frozen=True)
class Answer:
    turn: int
    n_prompt: int
    n_cached: int
    ttft_s: float
    n_events: int


def words(seed: int, n: int) -> str:
    """Makes a number of words that depend on the seed."""
    return " ".join(WORDS[(seed * 7 + i * (seed + 3) + i * i) % len(WORDS)] for i in range(n))


def talk(base_url: str, conversation: int) -> Iterator[Answer]:
    """Runs all turns of one conversation, each after the answer to the one before."""
    system = f"You are clerk {conversation % N_SYSTEM_PROMPTS}. {words(conversation % N_SYSTEM_PROMPTS, 250)}"
    messages = [{"role": "system", "content": system}]
    for turn in range(N_TURNS):
        messages.append({"role": "user", "content": f"Caller {conversation}, {turn}: {words(conversation + 11, 50)}?"})
        answer, text = ask(base_url, turn, messages)
        messages.append({"role": "assistant", "content": text})
        yield answer


def ask(base_url: str, turn: int, messages: Sequence[dict[str, str]]) -> tuple[Answer, str]:
    body = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    body |= {"max_tokens": N_ANSWER, "temperature": 0}
    started_s, ttft_s, text = time.monotonic(), 0.0, ""
    usage: dict[str, Any] = {}
    n_events = 0
    with httpx.stream("POST", f"{base_url}/v1/chat/completions", json=body, timeout=120) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            n_events += 1
            event: dict[str, Any] = json.loads(line.removeprefix("data: "))
            for choice in event["choices"]:
                text += choice["delta"].get("content") or ""
            ttft_s = ttft_s or (time.monotonic() - started_s if text else 0.0)
            usage = event.get("usage") or usage
    n_cached = usage["prompt_tokens_details"]["cached_tokens"]
    return Answer(turn, usage["prompt_tokens"], n_cached, ttft_s, n_events), text


@dataclass(frozen=True)
class Side:
    answers: list[Answer]
    routing_cpu_s: float  # of Serve's HTTP proxy and of the ingress, both together


def measure(side: str) -> Side:
    with (
        Cluster("--routing", side, "--n-replicas", "2", "--threads", "1", "--n-ctx", "8192", *PLAIN) as cluster,
        ThreadPoolExecutor(N_CALLERS) as callers,
    ):
        before_s = routing_cpu_s(cluster)
        talks = callers.map(lambda each: list(talk(cluster.base_url, each)), range(N_CONVERSATIONS))
        answers = [answer for each in talks for answer in each]
        return Side(answers, routing_cpu_s(cluster) - before_s)


def routing_cpu_s(cluster: Cluster) -> float:
    processes = psutil.Process(cluster.process.pid).children(recursive=True)
    times = [each.cpu_times() for each in processes if each.cmdline()[:1] and ROUTING.match(each.cmdline()[0])]
    if len(times) != 2:
        raise RuntimeError("the processes of Ray that route requests are not found by their names")
    return float(sum(each.user + each.system for each in times))


def row(side: str, measured: Side) -> str:
    answers = measured.answers
    later = [answer for answer in answers if answer.turn]
    cuts = statistics.quantiles([answer.ttft_s for answer in answers], n=20, method="inclusive")
    cells = [hit_rate(answers), hit_rate(later), f"{cuts[9]:.2f} s", f"{cuts[18]:.2f} s"]
    computed = sum(answer.n_prompt - answer.n_cached for answer in answers)
    cpu_ms = 1000 * measured.routing_cpu_s / sum(answer.n_events for answer in answers)
    return f"| {side} | {len(answers)} | {' | '.join(cells)} | {computed:,} | {cpu_ms:.1f} ms |"


def hit_rate(answers: Sequence[Answer]) -> str:
    return f"{sum(answer.n_cached for answer in answers) / sum(answer.n_prompt for answer in answers):.0%}"


def table(sides: dict[str, Side]) -> str:
    heads = ["routing", "requests", "hit rate", "of later turns", "TTFT p50", "TTFT p95", "tokens computed"]
    heads += ["CPU of routing, per event"]
    lines = [f"{machine()}, two replicas of one thread, {N_CALLERS} callers at once, {datetime.date.today()}.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(row(side, measured) for side, measured in sides.items())])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_affinity", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/BENCHMARKS.md")
    args = parser.parse_args()
    text = table({side: measure(side) for side in SIDES})
    print(text)
    if args.write_docs:
        write_section("ray", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
