"""Opt-in (`make test-families`): every architecture that llama.cpp knows, in three types of weights, computed by llmcore.

What was found is left in a folder (`--findings`), of which tests.architectures.table makes a table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.architectures.findings import Findings
from tests.architectures.names import architecture_names
from tests.architectures.sweep import TYPES, run_case

# The first test may wait for the computation of all cases.
pytestmark = [pytest.mark.families, pytest.mark.timeout(1200)]

Cases = dict[tuple[str, str], "Future[Findings]"]


def _find(architecture: str, quant: str) -> Findings:
    with TemporaryDirectory() as folder:
        return run_case(architecture, quant, Path(folder))


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> Iterator[Cases]:
    """Returns all findings of this run, computed in parallel by as many processes as there are cores."""
    asked = [
        (str(item.callspec.params["architecture"]), str(item.callspec.params["quant"]))
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_an_architecture
    ]
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    yield {case: pool.submit(_find, *case) for case in asked}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("quant", TYPES)
@pytest.mark.parametrize("architecture", architecture_names())
def test_an_architecture(architecture: str, quant: str, cases: Cases, request: pytest.FixtureRequest) -> None:
    found = cases[architecture, quant].result()
    folder: Path | None = request.config.getoption("--findings")
    if folder:
        found.write(folder)
    if found.absent:
        pytest.skip(found.absent)
    assert found.faults == []
