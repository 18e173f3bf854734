"""How many threads to compute with: one for each physical core that pulls its weight, within the CPU quota.

Steps end at barriers, and much of the work between them is divided evenly: a step takes as long as its slowest thread.

- A second thread on a core (SMT) does not add to matrix products: cores count, not logical CPUs.
- Efficiency cores count only where all of them together still outdo the fast ones, each at the pace of the slowest
  (`choose_cores`); otherwise everybody would wait for them.
- A thread beyond the quota stops all others until the next period: the quota is rounded down, to no less than 1.
- The affinity mask, which reflects cpusets, is never overridden.
- NUMA nodes do not change the count, since threads are not bound to cores, and would come to lie on all nodes anyway. More
  than one is a note: a service bound to each node reads its weights from memory of its own.

The same holds for steps of one token, which read memory, and for prompts, which compute: what a mask or a quota takes away
neither can use. So both get the same number unless one of them is requested.
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

# Cores of at least this part of the fastest one's speed are alike: favoured cores clock a little higher than the rest.
_ALIKE = 0.8
# Slower cores come in if the whole becomes faster by this factor at least: each thread more makes barriers dearer.
_GAIN = 1.25


@dataclass(frozen=True, kw_only=True)
class ThreadDecision:
    """The counts, why, and what they were decided from.

    `n_threads` are for steps of one token, `n_threads_batch` for larger ones. `n_cpus` logical CPUs are in the affinity mask;
    on them lie `n_cores` physical cores, of which `n_cores_used` were found worth a thread, on `n_nodes` NUMA nodes.
    `quota_cpus` is the lowest CPU quota of the control groups, in CPUs. `notes` say what makes these counts worse than they
    could be.
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
        requested: a number for steps of one token that wins over the machine's; 0 for none.
        requested_batch: the same for larger steps; 0 takes what the others get.
        root: where /proc and /sys are (for tests).
        affinity: the logical CPUs that may be used, by default this process's.
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
    """Of cores sorted from the fastest, those worth a thread: the fast ones; and slower ones, all of a kind or none, where
    count × speed of the slowest grows by a quarter."""
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


# How often a waiting thread of GCC's OpenMP runtime looks before it sleeps. Its own default, 300,000, takes milliseconds:
# wherever another process runs on one of our cores, its time goes to a thread that waits for one that cannot run. With
# 1,000 no loss was measured on an idle machine (docs/BENCHMARKS.md).
_SPINS = "1000"
_SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@contextlib.contextmanager
def brief_spinning() -> Iterator[None]:
    """While it lasts, an OpenMP runtime that is loaded is told to spin briefly, unless the environment says how long."""
    if any(name in os.environ for name in _SPIN_VARIABLES):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = _SPINS
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]
