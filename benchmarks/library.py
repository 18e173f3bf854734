"""Measures a batch of chats in a Python program: ours one by one, ours as a list, and llama-cpp-python one by one.

    python -m benchmarks.library [--models default,1b] [--chats 64] [--answer 32] [--turns 2] [--threads 2] [--write-docs]

All read the same token ids and answer greedily. The sides run in turns, each with a model loaded anew. llama-cpp-python has no
calls for several prompts at once. Its environment is made under build/ at the first run, which compiles it (minutes); where it
cannot be installed, ours are measured alone. Loading is not measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.peer_environment import PeerError, output_of, peer_python
from benchmarks.report import PLAIN_WIDTH, write_section
from llmcore.errors import LlmcoreError
from llmcore.library.llm import LLM

SECTION = "library"
REQUIREMENT = "llama-cpp-python==0.3.36"
N_CTX, N_SLOTS = 8192, 16

ONE_BY_ONE, AS_LIST, PEER = "llmcore, one by one", "llmcore, as a list", "llama-cpp-python, one by one"
GOAL = 3.0  # llama-cpp-python's time divided by that of our list

Prompts = list[list[int]]


@dataclasses.dataclass(frozen=True)
class Run:
    """One batch: its time, without the load, and the tokens of all answers."""

    seconds: float
    n_tokens: int


@dataclasses.dataclass(frozen=True)
class Subject:
    """The task of all sides: a model, and the chats that it answers."""

    path: Path
    n_chats: int
    n_answer: int
    threads: int


def prompts_of(subject: Subject) -> Prompts:
    """Returns the token ids of the chats; of plain texts for a model without a chat template."""
    with LLM(subject.path, n_ctx=512, n_slots=1, threads=1, kernels="off", self_check="off") as llm:
        texts = [f"Tell me one fact about the number {100 + i}." for i in range(subject.n_chats)]
        if llm.model.chat_template is None:
            return [llm.tokenize(text) for text in texts]
        rendered = [llm.render([{"role": "user", "content": text}]) for text in texts]
        return [llm.tokenize(text, add_special=False, parse_special=True) for text in rendered]


def ours(subject: Subject, prompts: Prompts, *, is_list: bool) -> Run:
    """Answers the prompts in this process."""
    with LLM(subject.path, n_ctx=N_CTX, n_slots=N_SLOTS, threads=subject.threads) as llm:
        llm.generate(prompts[0][::-1], max_tokens=4, temperature=0)
        started = time.perf_counter()
        if is_list:
            answers = llm.generate(prompts, max_tokens=subject.n_answer, temperature=0)
        else:
            answers = [llm.generate(each, max_tokens=subject.n_answer, temperature=0) for each in prompts]
        seconds = time.perf_counter() - started
        return Run(seconds, sum(each.usage.n_generated for each in answers))


def peer(subject: Subject, prompts: Prompts) -> Run:
    """Answers the prompts by llama-cpp-python. Raises PeerError."""
    program = Path(__file__).with_name("llama_cpp_python_child.py")
    numbers = (subject.threads, N_CTX, subject.n_answer)
    # -I: its packages must not import the modules beside the script.
    command = (peer_python("llama-cpp-python", REQUIREMENT), "-I", program, subject.path, *numbers)
    found = json.loads(output_of(command, json.dumps(prompts)).splitlines()[-1])
    return Run(found["seconds"], found["n_tokens"])


def measure(subject: Subject, turns: int) -> dict[str, list[Run]]:
    """Measures all sides in turns; the peer is left out, with a message, where it cannot be installed."""
    prompts = prompts_of(subject)
    sides: dict[str, Callable[[], Run]] = {
        ONE_BY_ONE: lambda: ours(subject, prompts, is_list=False),
        AS_LIST: lambda: ours(subject, prompts, is_list=True),
        PEER: lambda: peer(subject, prompts),
    }
    found: dict[str, list[Run]] = {name: [] for name in sides}
    for turn in range(turns):
        # The order alternates, so that a drift favours no side.
        for name in list(sides) if turn % 2 == 0 else list(reversed(sides)):
            try:
                found[name].append(sides[name]())
            except PeerError as error:
                print(f"without llama-cpp-python: {error}", file=sys.stderr)
                del sides[name]
                del found[name]
                continue
            print(f"{subject.path.stem}, turn {turn + 1}, {name}: {found[name][-1].seconds:.2f} s", file=sys.stderr)
    return found


# Columns of the table.
HEADS = ("model", "side", "seconds", "tokens of answers", "tok/s", "our list is faster by")


def rows(subject: Subject, found: dict[str, list[Run]]) -> list[tuple[str, ...]]:
    """Returns the lines of the table, by medians."""
    medians = {name: statistics.median(run.seconds for run in runs) for name, runs in found.items()}
    lines: list[tuple[str, ...]] = []
    for name, runs in found.items():
        spread = f"{medians[name]:.2f} ({min(r.seconds for r in runs):.2f} to {max(r.seconds for r in runs):.2f})"
        n_tokens = runs[-1].n_tokens
        factor = "" if name == AS_LIST else f"{medians[name] / medians[AS_LIST]:.2f} ×"
        if name == PEER:
            factor += f" (goal {GOAL:.0f} ×)"
        lines.append((subject.path.stem, name, spread, str(n_tokens), f"{n_tokens / medians[name]:.0f}", factor))
    return lines


def markdown(lines: Sequence[tuple[str, ...]], args: argparse.Namespace) -> str:
    """Returns the section of the document."""
    sizes = f"{args.chats} chats of at most {args.answer} tokens, {args.threads} threads, {args.turns} turns"
    table = ["| " + " | ".join(cells) + " |" for cells in (HEADS, *lines)]
    table.insert(1, "|" + "---|" * len(HEADS))
    return "\n".join([f"{machine()}; {sizes}; {time.strftime('%Y-%m-%d')}.", "", *table])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default="default", help="list of default, 1b, or GGUF files (%(default)s)")
    parser.add_argument("--chats", type=int, default=64)
    parser.add_argument("--answer", type=int, default=32, help="tokens of each answer at most (%(default)s)")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    args = parser.parse_args()
    lines: list[tuple[str, ...]] = []
    try:
        for name in args.models.split(","):
            subject = Subject(named_model(name), args.chats, args.answer, args.threads)
            lines += rows(subject, measure(subject, args.turns))
    except (LlmcoreError, ValueError) as error:
        print(f"benchmarks.library: {error}", file=sys.stderr)
        return 1
    table = Table(*HEADS)
    for line in lines:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)
    if args.write_docs:
        write_section(SECTION, markdown(lines, args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
