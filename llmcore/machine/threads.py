"""Decides the number of threads: one for each physical core that is fast enough, within the CPU quota.

Steps have barriers, and much of the work between barriers is divided evenly: a step takes as long as its slowest thread.

- A second thread on a core (SMT) does not speed up matrix products: cores count, not logical CPUs.
- Efficiency cores count only if all cores together, each at the speed of the slowest, are faster than the fast cores alone
  (`choose_cores`); otherwise the fast threads would wait for the slow ones.
- A thread beyond the quota stops all others until the next period: the quota is rounded down, but not below 1.
- The affinity mask, which reflects cpusets, is never overridden.
- NUMA nodes do not change the number: threads are not bound to cores, and would run on all nodes anyway. More than one node
  is a note: one service on each node would read its weights from that node's memory.

Steps of one token are bound by memory and prompts by computation, but neither can use CPUs that the mask or the quota excludes.
So both get the same number of threads unless one of them is requested.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmcore.machine.quota import lowest_quota_cpus
from llmcore.machine.topology import Core, read_cores

# Cores of at least this part of the highest speed count as fast: some cores clock a little higher than the rest.
_ALIKE = 0.8
# Slower cores are used if the total speed grows by at least this factor: each further thread makes barriers more expensive.
_GAIN = 1.25


@dataclass(frozen=True, kw_only=True)
class ThreadDecision:
    """Numbers of threads, the reason in words, and the facts that they were decided from.

    Attributes:
        n_threads: for steps of one token.
        n_threads_batch: for larger steps.
        n_cpus: logical CPUs in the affinity mask.
        n_cores: physical cores of these CPUs.
        n_cores_used: cores that are fast enough for a thread.
        n_nodes: NUMA nodes of these cores.
        quota_cpus: lowest CPU quota of the control groups, in CPUs; None if there is none.
        notes: circumstances that make computing slower than it could be, with advice.
    """

    n_threads: int
    n_threads_batch: int
    reason: str
    n_cpus: int
    n_cores: int
    n_cores_used: int
    n_nodes: int
    quota_cpus: float | None
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> tuple[int, int]:
        return self.n_threads, self.n_threads_batch


def decide_threads(
    requested: int = 0, requested_batch: int = 0, *, root: Path = Path("/"), affinity: frozenset[int] | None = None
) -> ThreadDecision:
    """Decides the numbers of threads.

    Args:
        requested: the number for steps of one token; 0 takes the machine's.
        requested_batch: the number for larger steps; 0 takes that for steps of one token.
        root: where /proc and /sys are (for tests).
        affinity: logical CPUs that may be used; by default this process's affinity mask.
    """
    cpus = frozenset(os.sched_getaffinity(0)) if affinity is None else affinity
    cores = read_cores(cpus, root)
    n_used = len(choose_cores(cores))
    quota = lowest_quota_cpus(root)
    by_machine = max(n_used if quota is None else min(n_used, math.floor(quota)), 1)
    n_threads = requested or by_machine
    n_threads_batch = requested_batch or n_threads
    n_nodes = len({core.node for core in cores}) or 1
    return ThreadDecision(
        n_threads=n_threads,
        n_threads_batch=n_threads_batch,
        reason=_reason(requested, requested_batch, _inputs(cpus, cores, n_used, n_nodes, quota)),
        n_cpus=len(cpus),
        n_cores=len(cores),
        n_cores_used=n_used,
        n_nodes=n_nodes,
        quota_cpus=quota,
        notes=_notes(max(n_threads, n_threads_batch), len(cores), n_nodes, quota),
    )


def choose_cores(cores: Sequence[Core]) -> Sequence[Core]:
    """Chooses the cores that are fast enough, from cores sorted by speed: the fast ones, and slower ones, all of one speed or none,
    if count × lowest speed grows by _GAIN."""
    chosen = [core for core in cores if core.speed >= _ALIKE]
    pace = float(len(chosen))
    for speed in sorted({core.speed for core in cores if core.speed < _ALIKE}, reverse=True):
        joined = [core for core in cores if core.speed >= speed]
        if len(joined) * speed >= _GAIN * pace:
            chosen, pace = joined, len(joined) * speed
    return chosen


def _reason(requested: int, requested_batch: int, inputs: str) -> str:
    asked = [
        f"{name} as requested" for name, value in (("threads", requested), ("threads_batch", requested_batch)) if value
    ]
    return f"{', '.join(asked)} ({inputs})" if asked else inputs


def _inputs(cpus: frozenset[int], cores: Sequence[Core], n_used: int, n_nodes: int, quota: float | None) -> str:
    parts = [f"{_count(len(cores), 'physical core')} in the affinity mask of {_count(len(cpus), 'CPU')}"]
    if n_used < len(cores):
        parts.append(f"{len(cores) - n_used} of them too slow to wait for")
    if n_nodes > 1:
        parts.append(f"{n_nodes} NUMA nodes")
    parts.append("no CPU quota" if quota is None else f"CPU quota {quota:g}")
    return ", ".join(parts)


def _notes(n_threads: int, n_cores: int, n_nodes: int, quota: float | None) -> tuple[str, ...]:
    notes = []
    if n_nodes > 1:
        notes.append(
            f"the CPUs lie on {n_nodes} NUMA nodes, and much of what is read comes from another node's memory: run one "
            "service on each node (numactl --cpunodebind=N --membind=N), or give this one a cpuset of one node"
        )
    if quota is not None and n_threads > quota:
        notes.append(
            f"{_count(n_threads, 'thread')} share a CPU quota of {quota:g}: all of them stop whenever it is used up; "
            + ("raise the quota to 1 CPU or more" if quota < 1 else "use fewer threads, or raise the quota")
        )
    if n_threads > n_cores:
        notes.append(
            f"{_count(n_threads, 'thread')} on {_count(n_cores, 'physical core')} wait for each other at every barrier: use "
            "no more threads than cores"
        )
    return tuple(notes)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


# Number of times that a waiting thread of GCC's OpenMP runtime spins before it sleeps. The default, 300,000, takes milliseconds:
# if another process runs on one of our cores, a spinning thread takes the time of the thread that it waits for. With 1,000 no
# loss was measured on an idle machine (docs/BENCHMARKS.md).
_SPINS = "1000"
_SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@contextlib.contextmanager
def brief_spinning() -> Iterator[None]:
    """Makes an OpenMP runtime that is loaded within the block spin briefly, unless the environment sets how long."""
    if any(name in os.environ for name in _SPIN_VARIABLES):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = _SPINS
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]
