"""Odd and hostile requests against the real service with the default model: a short run of benchmarks/fuzz.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.fuzz import fuzz
from benchmarks.fuzz_requests import fuzz_request
from benchmarks.service import Service

pytestmark = pytest.mark.e2e

SEED, N_REQUESTS = 7, 80


def test_no_request_is_a_server_error_or_ends_the_worker(default_model: Path) -> None:
    with Service("--n-ctx", "1024", "--log-level", "warning", environ={"MODEL_PATH": str(default_model)}) as service:
        found = asyncio.run(fuzz(service.base_url, SEED, 0, N_REQUESTS, n_callers=8))
        assert found.n_restarts == 0
        assert not found.faults, found.faults[:5]
    assert found.statuses["200"]
    assert found.statuses["400"]
    assert len(found.codes) > 5
    assert not any("Traceback" in line for line in service.log), service.log[-20:]


def test_a_request_is_made_from_its_numbers_alone() -> None:
    assert [fuzz_request(1, n) for n in range(50)] == [fuzz_request(1, n) for n in range(50)]
    assert fuzz_request(1, 0) != fuzz_request(2, 0)
