"""Requests that nobody sane would send, against the real service: no answer is a 5xx, no worker dies, all come to an end.

    python -m benchmarks.fuzz [--requests 50000] [--seed 0] [--template NAME | --real] [--callers 8] [--json FILE]

The model is tiny and has random weights, the default model's vocabulary and a chat template of llama.cpp's collection, so that
time goes into requests and not into weights; --real takes the default model.
A request is made from its number and the seed alone (benchmarks/fuzz_requests.py), so a fault can be sent again:
`--seed S --first N --requests 1`. The exit status says whether there were none.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.fuzz_requests import FuzzRequest, fuzz_request
from benchmarks.nonsense_model import DEFAULT_TEMPLATE, nonsense_model
from benchmarks.service import Service

# Of one request, however odd. The service's own limits are far below; this is about what never ends.
REQUEST_TIMEOUT_S = 120.0


@dataclass
class Findings:
    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)  # by kind: seconds, and the request's number
    n_restarts: int = 0
    duration_s: float = 0.0

    @property
    def all_well(self) -> bool:
        return not self.faults and not self.n_restarts


class Fuzzer:
    def __init__(self, client: httpx.AsyncClient, seed: int) -> None:
        self._client = client
        self._seed = seed
        self.findings = Findings()

    async def run(self, first: int, n: int, n_callers: int) -> Findings:
        started_s = time.monotonic()
        numbers = iter(range(first, first + n))
        await asyncio.gather(*(self._caller(numbers) for _ in range(n_callers)))
        self.findings.duration_s = time.monotonic() - started_s
        health = (await self._client.get("/healthz")).json()
        self.findings.n_restarts = health["worker"]["restarts"]
        if health["status"] != "ok":
            self.findings.faults.append(f"at the end the service is {health['status']}")
        return self.findings

    async def _caller(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            request = fuzz_request(self._seed, number)
            started_s = time.monotonic()
            try:
                await self._send(number, request)
            except Exception as error:
                self._fault(number, request, repr(error))
            took = (round(time.monotonic() - started_s, 2), number)
            self.findings.slowest[request.kind] = max(took, self.findings.slowest.get(request.kind, took))

    async def _send(self, number: int, request: FuzzRequest) -> None:
        body = {"content": request.body, "headers": {"content-type": "application/json"}}
        async with self._client.stream("POST", request.path, **body) as reply:  # type: ignore[arg-type]
            text = ""
            async for chunk in reply.aiter_text():
                text += chunk
                if request.hangs_up and len(text) > 200:
                    break
        self.findings.statuses[str(reply.status_code)] += 1
        if reply.status_code >= 500:
            self._fault(number, request, f"{reply.status_code} {text[:300]}")
        elif reply.status_code >= 400:
            self.findings.codes[json.loads(text)["error"]["code"]] += 1
        elif any(f'"code":"{code}"' in text for code in ("internal_error", "engine_error", "engine_died")):
            self._fault(number, request, f"a stream with an error: {text[-300:]}")

    def _fault(self, number: int, request: FuzzRequest, what: str) -> None:
        self.findings.faults.append(f"{number} ({request.kind}) {request.path}: {what}")


async def fuzz(base_url: str, seed: int, first: int, n: int, n_callers: int) -> Findings:
    limits = httpx.Limits(max_keepalive_connections=n_callers)
    async with httpx.AsyncClient(base_url=base_url, timeout=REQUEST_TIMEOUT_S, limits=limits) as client:
        for _ in itertools.count():
            if (await client.get("/readyz")).status_code == 200:
                break
            await asyncio.sleep(0.2)
        return await Fuzzer(client, seed).run(first, n, n_callers)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first request")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--template", default=DEFAULT_TEMPLATE, help=f"chat template (default: {DEFAULT_TEMPLATE})")
    model.add_argument("--real", action="store_true", help="with the default model")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write everything that was seen to this file")
    args = parser.parse_args()
    environ = {} if args.real else {"MODEL_PATH": str(nonsense_model(args.template))}
    with Service("--log-level", "warning", "--n-ctx", "1024", environ=environ) as service:
        found = asyncio.run(fuzz(service.base_url, args.seed, args.first, args.requests, args.callers))
        log = list(service.log)
    report = {
        "model": environ.get("MODEL_PATH", "default").rpartition("/")[2],
        "seed": args.seed,
        "first": args.first,
        "requests": args.requests,
        "duration_s": round(found.duration_s, 1),
    }
    report |= {"statuses": dict(found.statuses), "codes": dict(found.codes), "restarts": found.n_restarts}
    report |= {"slowest": found.slowest}
    report |= {"n_faults": len(found.faults), "faults": found.faults[:50], "log": log[-30:]}
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report | {"faults": found.faults, "log": log}, indent=1))
    return 0 if found.all_well else 1


if __name__ == "__main__":
    sys.exit(main())
