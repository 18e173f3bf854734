"""Odd and hostile requests against the real service with the default model: a short run of benchmarks/fuzz.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.fuzz import Target, bystanders_faults, fuzz
from benchmarks.fuzz_bystander import Bystander, Waits
from benchmarks.fuzz_requests import KINDS, USUAL, fuzz_request
from benchmarks.fuzz_wire import WireRequest
from benchmarks.service import Service

pytestmark = pytest.mark.e2e

SEED, N_REQUESTS = 7, 120


def test_no_request_is_a_server_error_or_ends_the_worker(default_model: Path, tmp_path: Path) -> None:
    flags = ("--n-ctx", "1024", "--log-level", "warning", "--prefix-dir", str(tmp_path))
    with Service(*flags, environ={"MODEL_PATH": str(default_model)}) as service:
        with Bystander(service.base_url) as bystander:
            found = asyncio.run(fuzz(Target(service.base_url), SEED, 0, N_REQUESTS, n_callers=8))
        assert found.n_restarts == 0
        assert not found.faults, found.faults[:5]
    assert found.statuses["200"]
    assert found.statuses["400"]
    assert len(found.codes) > 5
    assert len(found.kinds) > len(KINDS) // 2
    assert not bystanders_faults(bystander.report, wait_max_s=120.0)
    assert not any("Traceback" in line for line in service.log), service.log[-20:]


def test_a_request_is_made_from_its_numbers_alone() -> None:
    def some(seed: int) -> list[object]:
        return [fuzz_request(seed, n, USUAL) for n in range(100)]

    assert some(1) == some(1)
    assert fuzz_request(1, 0, ["chat"]) != fuzz_request(2, 0, ["chat"])


def test_a_request_of_many_kinds_is_made_again_by_naming_its_own() -> None:
    for n in range(100):
        request = fuzz_request(3, n, USUAL)
        assert fuzz_request(3, n, [request.kind]) == request


@pytest.mark.parametrize("kind", KINDS)
def test_requests_of_a_kind_differ(kind: str) -> None:
    made = [fuzz_request(0, n, [kind]) for n in range(20)]
    assert {each.kind for each in made} == {kind}
    assert len({each.pieces if isinstance(each, WireRequest) else each.body for each in made}) > 4


def waits(*seconds: float, **others: int) -> dict[str, object]:
    found = Waits(list(seconds))
    found.others.update({name.strip("_"): n for name, n in others.items()})
    return found.report()


def test_what_a_bystander_saw_is_judged() -> None:
    assert waits(*(float(i) for i in range(1, 101)))["max_s"] == 100.0
    assert bystanders_faults({"chat": waits(0.1, 29.0, _429=3)}, 30.0) == []
    for seen in (waits(0.1, 31.0), waits(), waits(0.1, _503=1), waits(0.1, TimeoutError=1)):
        assert len(bystanders_faults({"chat": seen}, 30.0)) == 1, seen
