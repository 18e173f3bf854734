"""Fuzzes the real service with odd and hostile requests: no reply may be a 5xx, no worker may die, every request must end.

    python -m benchmarks.fuzz [--requests 50000] [--seed 0] [--template NAME | --real] [--callers 8] [--json FILE]
                              [--kinds A,B | --without A,B] [--seconds 600]

The model is tiny and has random weights, the default model's vocabulary and a chat template of llama.cpp's collection, so that
the time goes into requests, not weights; --real takes the default model. All traffic stays on loopback.
A request depends only on its number and the seed (benchmarks/fuzz_requests.py), so a fault can be repeated: its message has the
flags `--seed S --first N --requests 1 --kinds K`. A bystander sends ordinary requests meanwhile (benchmarks/fuzz_bystander.py):
the report has its waiting times, and one longer than --wait-max seconds is a fault. The exit status is 0 if there were no
faults.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.fuzz_bystander import Bystander
from benchmarks.fuzz_requests import KINDS, USUAL, FuzzRequest, fuzz_request
from benchmarks.fuzz_wire import WireRequest, exchange
from benchmarks.nonsense_model import DEFAULT_TEMPLATE, nonsense_model
from benchmarks.service import Service

# Seconds for one request. The service's own limits are far lower; this one detects requests that never end.
REQUEST_TIMEOUT_S = 120.0
# A full queue in Anthropic's API.
OVERLOADED = 529
# In a stream that has begun. Errors of Ollama's API have no code.
_SIGNS_OF_FAULTS = (
    *(f'"code":"{code}"' for code in ("internal_error", "engine_error", "engine_died")),
    *(f'{{"type":"error","error":{{"type":"{kind}"' for kind in ("api_error", "overloaded_error")),
    *('{"error":"Internal error', '{"error":"The engine failed', '{"error":"the engine\'s process ended'),
)


@dataclass
class Findings:
    kinds: Counter[str] = field(default_factory=Counter)
    busy_s: dict[str, float] = field(default_factory=dict)  # by kind: seconds until the replies, summed over callers
    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)  # by kind: seconds, and the request's number
    n_restarts: int = 0
    duration_s: float = 0.0

    @property
    def all_well(self) -> bool:
        return not self.faults and not self.n_restarts


@dataclass(frozen=True)
class Target:
    base_url: str
    admin_url: str = ""  # empty: the admin listener's requests go to the main one


class Fuzzer:
    def __init__(self, client: httpx.AsyncClient, target: Target, seed: int, kinds: Sequence[str]) -> None:
        self._client = client
        self._target = target
        self._seed = seed
        self._kinds = kinds
        self.findings = Findings()

    async def run(self, first: int, n: int, n_callers: int, limit_s: float) -> Findings:
        started_s = time.monotonic()
        numbers = itertools.takewhile(lambda _: time.monotonic() < started_s + limit_s, range(first, first + n))
        await asyncio.gather(*(self._caller(numbers) for _ in range(n_callers)))
        self.findings.duration_s = time.monotonic() - started_s
        health = (await self._client.get("/healthz")).json()
        self.findings.n_restarts = health["worker"]["restarts"]
        if health["status"] != "ok":
            self.findings.faults.append(f"at the end the service is {health['status']}")
        return self.findings

    async def _caller(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            request = fuzz_request(self._seed, number, self._kinds)
            self.findings.kinds[request.kind] += 1
            started_s = time.monotonic()
            try:
                if isinstance(request, WireRequest):
                    await self._send_bytes(number, request)
                else:
                    await self._send(number, request)
            except Exception as error:
                self._fault(number, request, repr(error))
            took_s = time.monotonic() - started_s
            self.findings.busy_s[request.kind] = self.findings.busy_s.get(request.kind, 0.0) + took_s
            took = (round(took_s, 2), number)
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
        if reply.status_code >= 500 and reply.status_code != OVERLOADED:
            self._fault(number, request, f"{reply.status_code} {text[:300]}")
        elif reply.status_code >= 400:
            error = json.loads(text)["error"]  # a text in Ollama's API; has no code in Anthropic's
            self.findings.codes[str(error.get("code", error["type"])) if isinstance(error, dict) else "ollama"] += 1
        elif any(sign in text for sign in _SIGNS_OF_FAULTS):
            self._fault(number, request, f"a stream with an error: {text[-300:]}")

    async def _send_bytes(self, number: int, request: WireRequest) -> None:
        to_admin = request.to_admin and self._target.admin_url
        url = self._target.admin_url if to_admin else self._target.base_url
        for reply in await exchange(url, request, REQUEST_TIMEOUT_S):
            self.findings.statuses.update(str(status) for status in reply.statuses)
            # The admin listener accepts few connections, and refuses further ones with a reply.
            is_refused = request.to_admin and reply.statuses == (503,)
            if any(status >= 500 for status in reply.statuses) and not is_refused:
                self._fault(number, request, reply.text)

    def _fault(self, number: int, request: FuzzRequest | WireRequest, what: str) -> None:
        again = f"--first {number} --requests 1 --kinds {request.kind}"
        self.findings.faults.append(f"{again}: {request.path}: {what}")


async def fuzz(
    target: Target,
    seed: int,
    first: int,
    n: int,
    n_callers: int,
    kinds: Sequence[str] = USUAL,
    limit_s: float = math.inf,
) -> Findings:
    limits = httpx.Limits(max_keepalive_connections=n_callers)
    async with httpx.AsyncClient(base_url=target.base_url, timeout=REQUEST_TIMEOUT_S, limits=limits) as client:
        for _ in itertools.count():
            if (await client.get("/readyz")).status_code == 200:
                break
            await asyncio.sleep(0.2)
        return await Fuzzer(client, target, seed, kinds).run(first, n, n_callers, limit_s)


def bystanders_faults(waits: dict[str, dict[str, Any]], wait_max_s: float) -> list[str]:
    faults = []
    for name, found in waits.items():
        longest_s = max(found["max_s"] or 0.0, found["slowest_other_s"])
        if longest_s > wait_max_s or found["left_out"]:
            faults.append(
                f"a bystander's {name} took {longest_s:g} s, and {found['left_out']} were not sent for others"
            )
        if not found["n"]:
            faults.append(f"no {name} of a bystander was answered")
        # A request that is refused because of the queue gets its reply at once.
        wrong = {outcome: n for outcome, n in found["others"].items() if outcome != "429"}
        if wrong:
            faults.append(f"a bystander's {name}: {wrong}")
    return faults


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run(args: argparse.Namespace, kinds: Sequence[str], prefix_dir: Path) -> dict[str, Any]:
    environ = {} if args.real else {"MODEL_PATH": str(nonsense_model(args.template))}
    flags = ("--log-level", "warning", "--n-ctx", "1024", "--admin-port", "0", "--debug", "on", "--prefix-dir")
    with Service(*flags, str(prefix_dir), environ=environ) as service:
        admin = next(iter(re.findall(r"admin listener on (http://\S+)", "\n".join(service.log))), "")
        target = Target(service.base_url, admin)
        with Bystander(service.base_url) as bystander:
            found = asyncio.run(fuzz(target, args.seed, args.first, args.requests, args.callers, kinds, args.seconds))
        log = list(service.log)
    found.faults += bystanders_faults(bystander.report, args.wait_max)
    report: dict[str, Any] = {"model": environ.get("MODEL_PATH", "default").rpartition("/")[2], "seed": args.seed}
    report |= {"first": args.first, "requests": found.kinds.total(), "duration_s": round(found.duration_s, 1)}
    report |= {"bystander": bystander.report, "kinds": dict(found.kinds), "statuses": dict(found.statuses)}
    report |= {"codes": dict(found.codes), "busy_s": {kind: round(busy_s, 1) for kind, busy_s in found.busy_s.items()}}
    report |= {"slowest": found.slowest, "restarts": found.n_restarts}
    report |= {"prefix_dir_bytes": folder_bytes(prefix_dir), "log_lines": len(log)}
    return report | {"all_well": found.all_well, "n_faults": len(found.faults), "faults": found.faults, "log": log}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin none after that time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first request")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--template", default=DEFAULT_TEMPLATE, help=f"chat template (default: {DEFAULT_TEMPLATE})")
    model.add_argument("--real", action="store_true", help="with the default model")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--kinds", help=f"those alone, separated by commas, of {', '.join(KINDS)}")
    chosen.add_argument("--without", default="", help="all but those")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--wait-max", type=float, default=30.0, help="seconds that a bystander may wait (default: 30)")
    parser.add_argument("--json", type=Path, help="write everything that was seen to this file")
    args = parser.parse_args()
    named = (args.kinds or args.without).split(",") if args.kinds or args.without else []
    if not set(named) <= set(KINDS):
        parser.error(f"unknown kind; there are {', '.join(KINDS)}")
    kinds = tuple(named) if args.kinds else tuple(kind for kind in USUAL if kind not in named)
    with tempfile.TemporaryDirectory() as folder:
        report = run(args, kinds, Path(folder))
    print(json.dumps(report | {"faults": report["faults"][:50], "log": report["log"][-30:]}, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))
    return 0 if report["all_well"] else 1


if __name__ == "__main__":
    sys.exit(main())
