"""Callers of a soak: each performs random actions with random pauses, and records the results."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

QUESTIONS = [f"Name one thing that is {word}." for word in ("red", "cold", "round", "old", "loud")]
PREFIX = "You are the voice assistant of a small library by the sea. Answer in one short sentence. " * 12

# Seconds after a kill within which requests may still fail because of it.
DEATH_IS_TOLD_S = 20.0


@dataclass
class Notes:
    """Records of all callers."""

    outcomes: Counter[str] = field(default_factory=Counter)
    answers: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    samples: list[dict[str, float]] = field(default_factory=list)
    kills_s: list[float] = field(default_factory=list)  # of time.monotonic()
    recoveries_s: list[float] = field(default_factory=list)  # from a kill to readiness

    def killed_since(self, began_s: float) -> bool:
        """Returns True if a request that began at a time may fail because of a kill."""
        return bool(self.kills_s) and self.kills_s[-1] > began_s - DEATH_IS_TOLD_S


class EngineDied(Exception):
    """The service refused or ended a request since the worker was killed; the text is the error's code."""


class Refused(Exception):
    """The service is overloaded (429)."""


class Caller:
    """One caller. With `is_exact`, all answers to a question must be equal."""

    def __init__(
        self, client: httpx.AsyncClient, chance: random.Random, notes: Notes, pause_s: float, is_exact: bool
    ) -> None:
        self._client = client
        self._is_exact = is_exact
        self._chance = chance
        self._notes = notes
        self._pause_s = pause_s

    async def run(self, until_s: float) -> None:
        kinds = (self._ask, self._stream, self._complete, self._hang_up, self._hang_up_early, self._bad)
        while time.monotonic() < until_s:
            kind = self._chance.choice(kinds)
            began_s = time.monotonic()
            try:
                await kind()
                self._notes.outcomes[kind.__name__.strip("_")] += 1
            except EngineDied as died:
                if self._notes.killed_since(began_s):
                    self._notes.outcomes[str(died)] += 1
                else:
                    self._notes.faults.append(f"{kind.__name__}: {died!r}, and nobody killed it")
            except Refused:
                self._notes.outcomes["refused"] += 1
            except Exception as error:
                self._notes.faults.append(f"{kind.__name__}: {error!r}")
                await asyncio.sleep(0.5)
            await asyncio.sleep(self._chance.expovariate(1 / self._pause_s) if self._pause_s else 0)

    def _chat(self, question: str, **more: Any) -> dict[str, Any]:
        messages = [{"role": "system", "content": PREFIX}, {"role": "user", "content": question}]
        return {"messages": messages, "max_tokens": 24, "temperature": 0} | more

    async def answer(self, question: str) -> str:
        reply = await self._client.post("/v1/chat/completions", json=self._chat(question))
        _raise_for(reply)
        text: str = reply.json()["choices"][0]["message"]["content"]
        if not text.strip():
            raise AssertionError(f"an empty answer to {question!r}")
        return text

    async def _ask(self) -> None:
        question = self._chance.choice(QUESTIONS)
        text = await self.answer(question)
        first = self._notes.answers.setdefault(question, text)
        self._notes.outcomes["answer_same" if text == first else "answer_differs"] += 1
        if self._is_exact and text != first:
            raise AssertionError(f"{question!r} was answered {first!r}, and now {text!r}")

    async def _stream(self) -> None:
        body = self._chat(f"Tell me about {self._chance.randrange(1000)}.", stream=True, temperature=0.8)
        async with self._client.stream("POST", "/v1/chat/completions", json=body) as reply:
            await _raise_for_stream(reply)
            lines = [line async for line in reply.aiter_lines() if line]
        _check_end(lines)

    async def _complete(self) -> None:
        prompt = " ".join(str(self._chance.randrange(100)) for _ in range(self._chance.randrange(1, 200)))
        _raise_for(await self._client.post("/v1/completions", json={"prompt": prompt, "max_tokens": 16}))

    async def _hang_up(self) -> None:
        body = self._chat(f"Tell me a long story about {self._chance.random()}.", stream=True, max_tokens=1000)
        async with self._client.stream("POST", "/v1/chat/completions", json=body) as reply:
            await _raise_for_stream(reply)
            n = self._chance.randrange(1, 20)
            async for _ in reply.aiter_lines():
                n -= 1
                if n == 0:
                    break

    async def _hang_up_early(self) -> None:
        prompt = " ".join(str(self._chance.randrange(1000)) for _ in range(600))
        body = {"prompt": prompt, "max_tokens": 200, "stream": self._chance.random() < 0.5}
        try:
            await asyncio.wait_for(self._client.post("/v1/completions", json=body), self._chance.uniform(0.01, 0.4))
        except asyncio.TimeoutError:
            return

    async def _bad(self) -> None:
        bodies: list[dict[str, Any]] = [
            {},
            {"messages": "x"},
            self._chat("x", temperature=900),
            self._chat("x", response_format={"type": "nonsense"}),
        ]
        bodies.append({"messages": [{"role": "user", "content": "word " * 9000}]})
        reply = await self._client.post("/v1/chat/completions", json=self._chance.choice(bodies))
        if reply.status_code in (429, 503):
            _raise_for(reply)
        if reply.status_code != 400:
            raise AssertionError(f"a bad request was answered {reply.status_code}")


def _raise_for(reply: httpx.Response) -> None:
    """Raises EngineDied for a proper error of that kind, and httpx's own error for any other."""
    if reply.status_code == 503:
        raise EngineDied(reply.json()["error"]["code"])
    if reply.status_code == 429:
        raise Refused
    reply.raise_for_status()


async def _raise_for_stream(reply: httpx.Response) -> None:
    if reply.status_code >= 400:
        await reply.aread()
    _raise_for(reply)


def _check_end(lines: list[str]) -> None:
    for line in lines[-2:]:
        if line.startswith("data: {") and "error" in (event := json.loads(line[6:])):
            raise EngineDied(event["error"]["code"])
    if lines[-1] != "data: [DONE]":
        raise AssertionError(f"a stream ended with {lines[-1]!r}")
