"""Checks of the machine: CPU, quota and threads, huge pages, clock, and OpenMP's environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmcore.doctor.check import Check
from llmcore.machine.cpufeatures import cpu_features, missing_features, read_needs
from llmcore.machine.quota import cpu_throttling
from llmcore.machine.system_files import read_system_file
from llmcore.machine.threads import ThreadDecision

# Instruction sets that make kernels much faster, the fastest last. A build that lacks one of the CPU's is slower than necessary.
_FAST = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm", "sve")

# Environment variables of OpenMP's runtime, and their effect on our threads.
_OPENMP = {
    "OMP_DYNAMIC": "lets the runtime take fewer threads than it is asked for",
    "OMP_PROC_BIND": "binds threads to CPUs: one that shares its CPU with another process holds up all others",
    "OMP_PLACES": "binds threads to CPUs: one that shares its CPU with another process holds up all others",
    "GOMP_CPU_AFFINITY": "binds threads to CPUs: one that shares its CPU with another process holds up all others",
    "OMP_WAIT_POLICY": "sets how threads wait; without it they spin briefly, then sleep",
    "GOMP_SPINCOUNT": "sets how long waiting threads spin; without it they spin briefly",
}


def check_cpu_features(folder: Path, root: Path = Path("/")) -> Check:
    """Checks that the libraries in a folder can run on this CPU, without loading them."""
    needs, features = read_needs(folder), cpu_features(root)
    if needs is None:
        return Check(
            "cpu", "warn", "the libraries do not say which instructions they need (no cpu.json)", "build them again"
        )
    if features is None:
        return Check("cpu", "warn", "/proc/cpuinfo does not list the instructions of this CPU", "mount /proc")
    missing = missing_features(folder, root)
    if missing:
        return Check(
            "cpu",
            "fail",
            f"this CPU lacks {', '.join(missing)}, which the libraries were compiled for",
            "build on this machine, or with LLMCORE_CPU=all, which chooses at run time",
        )
    if needs.cpu_build == "all":
        return Check("cpu", "ok", "built for every CPU; instructions are chosen at run time")
    unused = [word for word in _FAST if word in features and word not in needs.features]
    if unused:
        return Check(
            "cpu",
            "warn",
            f"this CPU has {', '.join(unused)}, which the build does not use",
            "build on this machine for faster kernels",
        )
    return Check("cpu", "ok", f"has what the build needs: {' '.join(sorted(needs.features)) or 'nothing special'}")


def check_threads(decision: ThreadDecision) -> Check:
    """Reports the numbers of threads, with a warning if the decision has notes."""
    counts = f"{decision.n_threads} for steps of one token, {decision.n_threads_batch} for prompts"
    found = f"{counts}: {decision.reason}"
    return Check("threads", "warn" if decision.notes else "ok", found, "; ".join(decision.notes))


def check_throttling(root: Path = Path("/")) -> Check:
    """Checks the throttling of this process's control groups so far, by any process in them."""
    found, is_bad = [], False
    for each in cpu_throttling(root):
        n_up = each.quota.n_levels_up
        group = f"the control group {n_up} up" if n_up else "this control group"
        found.append(
            f"CPU quota {each.quota.cpus:g} of {group}: used up in {each.n_throttled} of {each.n_periods} periods, "
            f"{each.throttled_s:.1f} s of standing still"
        )
        is_bad = is_bad or each.n_throttled > 0
    if not found:
        return Check("throttling", "ok", "no CPU quota")
    advice = (
        "if that goes on while the service runs (llm_service_cpu_throttled_periods_total): more quota, or fewer threads"
    )
    return Check("throttling", "warn" if is_bad else "ok", "; ".join(found), advice if is_bad else "")


def check_huge_pages(root: Path = Path("/")) -> Check:
    """Checks that transparent huge pages are on."""
    text = read_system_file(root / "sys/kernel/mm/transparent_hugepage/enabled")
    if not text:
        return Check("huge pages", "ok", "this kernel has no setting for transparent huge pages")
    chosen = text.partition("[")[2].partition("]")[0]
    if chosen == "always":
        return Check("huge pages", "ok", "transparent huge pages are on")
    return Check(
        "huge pages",
        "warn",
        f"transparent huge pages: {chosen or text}; llama.cpp does not ask for them, so KV cells and repacked weights "
        "are in small pages",
        "try `echo always > /sys/kernel/mm/transparent_hugepage/enabled` on the host",
    )


def check_governor(cpus: frozenset[int], root: Path = Path("/")) -> Check:
    """Checks that the clock governor does not keep the usable CPUs slow."""
    governors, slow = set(), set()
    for cpu in cpus:
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        governor, driver = read_system_file(folder / "scaling_governor"), read_system_file(folder / "scaling_driver")
        if governor:
            governors.add(governor)
        # With these drivers "powersave" is the ordinary governor, which the CPU itself clocks up under load.
        is_managed = driver in ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
        preference = read_system_file(folder / "energy_performance_preference")
        if (governor == "powersave" and not is_managed) or preference == "power":
            slow.add(cpu)
    if not governors:
        return Check("clock", "ok", "this machine has no clock governor (like most virtual ones)")
    found = f"governor {', '.join(sorted(governors))}"
    if slow:
        return Check(
            "clock",
            "warn",
            f"{found}: {len(slow)} of {len(cpus)} CPUs are set to save power",
            "choose the governor schedutil or performance (`cpupower frequency-set -g performance`)",
        )
    return Check("clock", "ok", found)


def check_openmp(environ: Mapping[str, str], decision: ThreadDecision) -> Check:
    """Checks the environment variables that change how our threads run."""
    notes = [f"{name}={environ[name]} {what}" for name, what in _OPENMP.items() if environ.get(name)]
    most, limit = max(decision.counts), environ.get("OMP_THREAD_LIMIT", "").strip()
    if limit.isascii() and limit.isdigit() and int(limit) < most:
        notes.append(f"OMP_THREAD_LIMIT={limit}: the runtime gives no more threads, and {most} are wanted")
    if notes:
        return Check("openmp", "warn", "; ".join(notes), "unset them, unless you mean it")
    asked = environ.get("OMP_NUM_THREADS", "")
    return Check(
        "openmp", "ok", f"OMP_NUM_THREADS={asked}" if asked else "nothing in the environment changes its threads"
    )
