"""Compares our kernels with llama.cpp's, with and without flash attention, and OpenVINO GenAI: prefill, decode, rows, depth.

    python -m benchmarks.kernels [--model default|1b|all|FILE] [--turns 3] [--openvino] [--no-profile] [--write-docs]

The sides run in turns, each in a process of its own. llama.cpp's sides use its repacked and AMX buffers and no BLAS.

With `--kernels LEVEL` our side runs the kernels of a machine of that level, and has its goals. llama.cpp's side always runs
with all instruction sets of the build: a fair comparison needs a build for that level (docs/BENCHMARKS.md).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import kernel_figures, roofline, step_profile
from benchmarks.kernel_figures import FLASH, OPENVINO, OURS, PLAIN, Sizes, Turn
from benchmarks.kernel_steps import SIDES
from benchmarks.limits import Limits, limits
from benchmarks.machine import features, machine
from benchmarks.named import named_model
from benchmarks.openvino_side import turn as openvino_turn
from benchmarks.peer_environment import PeerError
from benchmarks.report import DOCS, write_section
from benchmarks.step_profile import Profile
from llmcore.config import KERNEL_CHOICES
from llmcore.errors import LlmcoreError
from llmcore.gguf.header import GgufHeader, read_header
from llmcore.llama.ffi.library import load_library
from llmcore.machine.threads import decide_threads

SECTION = "kernels"

# Default of GCC's OpenMP runtime. llmcore sets less (benchmarks.contention); llama.cpp's own programs run with this one, and
# decode a small model up to a third faster with it.
UNSET_SPINS = "300000"


class SideError(Exception):
    """A side ended without figures, after it printed the reason."""


@dataclass
class Found:
    """All findings about one model. `name` is its name on the command line."""

    name: str
    path: Path
    turns: list[Turn] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    sides: tuple[str, ...]
    n_turns: int
    threads: int
    sizes: Sizes
    with_profile: bool
    kernels: str = "auto"


def child(side: str, path: Path, plan: Plan, *flags: str) -> Any:
    """Runs benchmarks.kernel_steps and returns its output. Raises SideError."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    if side != OURS:
        environ["GOMP_SPINCOUNT"] = UNSET_SPINS
    command = [sys.executable, "-m", "benchmarks.kernel_steps", "--side", side, "--model", str(path)]
    command += ["--threads", str(plan.threads), "--scale", str(plan.sizes.scale), "--kernels", plan.kernels, *flags]
    done = subprocess.run(command, env=environ, check=False, stdout=subprocess.PIPE)
    if done.returncode:
        raise SideError(f"{side} ended with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def turn_of(side: str, path: Path, plan: Plan) -> Turn:
    if side == OPENVINO:
        return openvino_turn(path, plan.threads, plan.sizes)
    return Turn(**child(side, path, plan))


def measure(name: str, path: Path, plan: Plan) -> Found:
    """Measures all sides in turns. Raises SideError or PeerError."""
    found = Found(name, path)
    for turn in range(plan.n_turns):
        # The order alternates, so that a drift favours no side.
        for side in plan.sides[:: -1 if turn % 2 else 1]:
            began = time.monotonic()
            found.turns.append(turn_of(side, path, plan))
            print(
                f"{path.stem}, turn {turn + 1}, {side}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
            )
    if plan.with_profile and OURS in plan.sides:
        found.profiles = [Profile(**each) for each in child(OURS, path, plan, "--profile")]
    return found


def report(found: Found, plan: Plan, limit: Limits, plot: str) -> str:
    """Report on one model in Markdown; `plot` is the name of the plot's file, or empty."""
    header = read_header(found.path)
    has_amx = "amx_tile" in features() and plan.kernels in ("auto", "amx")
    judged = kernel_figures.lines(found.turns, found.name, has_amx, plan.sizes)
    parts = [f"{found.path.stem}, median of {plan.n_turns}.", kernel_figures.table(judged)]
    if plan.sizes.scale != 1:
        parts[0] += f" **Sizes times {plan.sizes.scale:g}: a smoke test, no measurement.**"
    parts.append(loads(found.turns, header))
    points = roofline.points(found.turns, roofline.operations(header, plan.sizes))
    parts.append(roofline.table(points, limit))
    if plot:
        parts.append(f"![{found.path.stem} against the machine's limits]({plot})")
    if found.profiles:
        parts += ["Where the time of our steps goes:", step_profile.table(found.profiles)]
    return "\n\n".join(parts)


def loads(turns: Sequence[Turn], header: GgufHeader) -> str:
    """Line about the time of loading and the resident memory that it added."""
    file_bytes = sum(tensor.size_bytes for tensor in header.tensors)
    told = []
    for side in dict.fromkeys(each.side for each in turns):
        mine = [each for each in turns if each.side == side]
        size = f", {mine[0].model_bytes / file_bytes:.2f} × the weights in the file" if mine[0].model_bytes else ""
        told.append(f"{side} {min(each.load_s for each in mine):.1f} s{size}")
    return f"Loading, and the resident memory that it added: {'; '.join(told)}."


def write_plots(all_found: Sequence[Found], plan: Plan, limit: Limits, folder: Path) -> list[str]:
    """Writes a plot for each model. Returns the names of the files."""
    names = []
    for found in all_found:
        points = roofline.points(found.turns, roofline.operations(read_header(found.path), plan.sizes))
        names.append(f"roofline-{found.path.stem}.svg")
        roofline.write_plot(folder / names[-1], f"{found.path.stem}: operations against the limits", points, limit)
    return names


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if not set(args.sides.split(",")) <= set(SIDES) or args.turns < 1:
        parser.error(f"--sides takes {', '.join(SIDES)}, and --turns at least 1")
    names = ["default", "1b"] if args.model == "all" else [args.model]
    sides = tuple(args.sides.split(",")) + ((OPENVINO,) if args.openvino else ())
    plan = Plan(
        sides, args.turns, decide_threads(args.threads).n_threads, Sizes(args.scale), not args.no_profile, args.kernels
    )
    try:
        before = limits(plan.threads)
        all_found = [measure(name, named_model(name), plan) for name in names]
    except (SideError, PeerError, LlmcoreError, ValueError) as error:
        print(f"benchmarks.kernels: {error}", file=sys.stderr)
        return 1
    limit = before.or_better(limits(plan.threads))
    folder = args.plots or (DOCS.parent if args.write_docs and plan.kernels == "auto" else None)
    plots = write_plots(all_found, plan, limit, folder) if folder else [""] * len(all_found)
    head = f"{machine()}, {plan.threads} threads, {time.strftime('%Y-%m-%d')}. {roofline.told(limit)}"
    if plan.kernels != "auto":
        head = f"Ours at level {plan.kernels}; llama.cpp's libraries built for {', '.join(built_for())}. {head}"
    text = "\n\n".join([head, *(report(each, plan, limit, plot) for each, plot in zip(all_found, plots, strict=True))])
    print(text)
    if args.json:
        values = [{**asdict(each), "path": str(each.path)} for each in all_found]
        args.json.write_text(json.dumps({"machine": machine(), "threads": plan.threads, "models": values}, indent=1))
    if args.write_docs:
        write_section(SECTION if plan.kernels == "auto" else f"{SECTION}-{plan.kernels}", text)
    return 0


def built_for() -> list[str]:
    """Instruction sets of llama.cpp's CPU backend that matter here, by its own names."""
    names = ("AVX2", "FMA", "F16C", "AVX_VNNI", "AVX512", "AVX512_VNNI", "AVX512_BF16", "AMX_INT8")
    told = load_library().llama_print_system_info().decode()
    return [name for name in names if f"{name} = 1" in told]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    add: Any = parser.add_argument
    add("--model", default="1b", help="1b, default, all (both), or the path of a GGUF file")
    add("--turns", type=int, default=3)
    add("--threads", type=int, default=0)
    add("--sides", default=f"{OURS},{FLASH},{PLAIN}", help="with commas between")
    add(
        "--kernels",
        choices=[each for each in KERNEL_CHOICES if each != "off"],
        default="auto",
        help="ours: which level",
    )
    add("--openvino", action="store_true", help="OpenVINO GenAI too; installs it under build/ where it is missing")
    add("--no-profile", action="store_true", help="without the profile of our steps")
    add("--scale", type=float, default=1.0, help="sizes times this, for a smoke test")
    add("--plots", type=Path, default=None, help="write the plots to this folder (with --write-docs: docs/)")
    add("--json", type=Path, help="also write the figures to this file")
    add("--write-docs", action="store_true", help="replace the section in docs/BENCHMARKS.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
