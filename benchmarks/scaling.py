"""Computes replicas, cores and waiting times for a number of callers: the tables of docs/SCALING.md.

    python -m benchmarks.scaling [--write-docs]
    python -m benchmarks.scaling --rates PREFILL,COLD,ALONE,TOGETHER     for rates of your own, in tokens a second

Nothing is measured here. The rates are read from docs/BENCHMARKS.md, where `benchmarks.kernels` has written them.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.kernel_figures import Sizes, figures
from benchmarks.markdown import markdown_table

SCALING = report.DOCS.with_name("SCALING.md")

CALLERS = (10, 1_000, 100_000)
TURN_S = 20.0  # each caller has one turn in this time
N_CACHED, N_NEW, N_ANSWER = 1_600, 100, 40  # tokens of a turn
UTILIZATION = 0.5
N_CORES = 2  # of a replica


@dataclass(frozen=True)
class Rates:
    """Tokens per second of one replica: of a prompt after 2,048 tokens, of a prompt of 2,048 tokens into an empty cache, of one
    answer at that depth, and of eight such answers together."""

    prefill: float
    cold: float
    alone: float
    together: float


@dataclass(frozen=True)
class Turn:
    """Seconds of work of one turn whose prefix is cached."""

    rates: Rates

    @property
    def prompt_s(self) -> float:
        return N_NEW / self.rates.prefill

    @property
    def answer_s(self) -> float:
        return N_ANSWER / self.rates.alone

    @property
    def alone_s(self) -> float:
        return self.prompt_s + self.answer_s

    @property
    def together_s(self) -> float:
        """Seconds of a turn's share of the work while eight callers are answered at the same time."""
        return self.prompt_s + N_ANSWER / self.rates.together

    @property
    def cold_s(self) -> float:
        """Seconds to compute the prefix that is usually cached."""
        return N_CACHED / self.rates.cold

    @property
    def first_token_s(self) -> float:
        """Mean time to the first token, with processor sharing at this utilization."""
        return self.prompt_s / (1 - UTILIZATION)


def n_replicas(callers: int, turn_s: float) -> int:
    return math.ceil(callers * turn_s / TURN_S / UTILIZATION)


def measured_rates(benchmarks: str, section: str, model: str) -> Rates:
    """Reads our rates from a section of docs/BENCHMARKS.md. Raises ValueError if one is missing."""
    body = benchmarks.partition(f"<!-- {section}:begin -->")[2].partition(f"<!-- {section}:end -->")[0]
    part = body.partition(f"\n{model}, median of ")[2].partition("\nLoading, ")[0]
    ours = {cells[1].strip(): cells[2].strip() for line in part.splitlines() if len(cells := line.split("|")) > 3}
    labels = {each.name: each.label for each in figures(Sizes())}
    names = ("prefill deep", "prefill long", "decode deep", "rows own")
    try:
        return Rates(*(float(ours[labels[name]]) for name in names))
    except KeyError as error:
        raise ValueError(f"no figure {error} of {model} in section {section}") from None


def documented(benchmarks: str) -> dict[str, Rates]:
    """Returns the columns of the table by their headings."""
    return {
        "default model (135M), AMX": measured_rates(benchmarks, "kernels", "SmolLM2-135M-Instruct.Q4_1"),
        "1B shape, AMX": measured_rates(benchmarks, "kernels", "random-1b-Q4_K_M"),
        "1B shape, AVX2": measured_rates(benchmarks, "kernels-avx2", "random-1b-Q4_K_M"),
    }


def tables(columns: Mapping[str, Rates]) -> str:
    """Tables of the cost of a turn, and of replicas for numbers of callers."""
    turns = [Turn(rates) for rates in columns.values()]
    lines = [
        ("prompt tokens a second at depth 2,048", [f"{each.rates.prefill:,.0f}" for each in turns]),
        ("answer tokens a second at depth 2,048, alone", [f"{each.rates.alone:.1f}" for each in turns]),
        ("the same, 8 answers of 2,000 tokens each, together", [f"{each.rates.together:.1f}" for each in turns]),
        (f"{N_NEW} new tokens, the rest cached", [f"{each.prompt_s:.2f} s" for each in turns]),
        (f"{N_ANSWER} tokens of answer, alone", [f"{each.answer_s:.2f} s" for each in turns]),
        ("**a warm turn, alone**", [f"**{each.alone_s:.2f} s**" for each in turns]),
        ("a warm turn's share of eight together", [f"{each.together_s:.2f} s" for each in turns]),
        (f"not cached: {N_CACHED:,} tokens more", [f"{each.cold_s:.1f} s" for each in turns]),
        ("time to first token, mean", [f"{each.first_token_s:.2f} s" for each in turns]),
    ]
    for callers in CALLERS:
        most = [n_replicas(callers, each.alone_s) for each in turns]
        least = [n_replicas(callers, each.together_s) for each in turns]
        ends = list(zip(least, most, strict=True))
        lines.append((f"{callers:,} callers: replicas", [_range(low, high) for low, high in ends]))
        lines.append((f"{callers:,} callers: cores", [_range(low * N_CORES, high * N_CORES) for low, high in ends]))
    return markdown_table(["", *columns], [[label, *cells] for label, cells in lines])


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def rates_of(text: str) -> Rates:
    """Parses rates in the order of their fields, separated by commas. Raises ValueError."""
    numbers = [float(each) for each in text.split(",")]
    if len(numbers) != 4 or min(numbers) <= 0:
        raise ValueError("--rates takes four numbers above 0")
    return Rates(*numbers)


def main(argv: Sequence[str] | None = None, docs: Path = SCALING) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--rates", help="four numbers with commas between: of prompts at depth and cold, alone, together"
    )
    parser.add_argument("--write-docs", action="store_true", help="replace the table in docs/SCALING.md")
    args = parser.parse_args(argv)
    try:
        if args.rates:
            print(tables({"your rates": rates_of(args.rates)}))
            return 0
        text = tables(documented(report.DOCS.read_text("utf-8")))
    except ValueError as error:
        print(f"benchmarks.scaling: {error}", file=sys.stderr)
        return 1
    print(text)
    if args.write_docs:
        report.write_section("scaling", text, docs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
