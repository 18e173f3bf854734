"""The report of a comparison: a table and a plot in the terminal, a table in docs/BENCHMARKS.md.

    python -m benchmarks.report FILE... [--write-docs]

Shows results that `benchmarks.serve --out` has written; several files are combined.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.figures import Row
from benchmarks.results import Results, read_results
from benchmarks.scenarios import SCENARIOS

DOCS = Path(__file__).parent.parent / "docs" / "BENCHMARKS.md"
SECTION = "serve"
BAR_WIDTH = 48
PLAIN_WIDTH = 150  # where the output is no terminal
BAR_COLORS = ("green", "blue")


@dataclass(frozen=True)
class Line:
    """A row with the figures of both sides; None for figures that were not measured."""

    title: str
    row: Row
    ours: float | None
    peer: float | None
    n_turns: int

    @property
    def ratio(self) -> str:
        return f"{self.ours / self.peer:.2f}" if self.ours is not None and self.peer else "–"

    @property
    def verdict(self) -> str:
        is_met = self.row.is_met(self.ours, self.peer)
        return "–" if is_met is None else "met" if is_met else "not met"

    def shown(self, value: float | None) -> str:
        return (
            "–" if value is None else f"{value:.3g} {self.row.unit}" if value < 1000 else f"{value:.0f} {self.row.unit}"
        )


def lines(results: Results) -> list[Line]:
    """Returns all rows of scenarios with at least one measurement."""
    return list(_lines(results))


def _lines(results: Results) -> Iterator[Line]:
    judged, peer = (*results.sides, None)[:2]
    assert judged is not None, "results have at least one side"
    for scenario in SCENARIOS:
        n_turns = results.n_turns(scenario.name)
        for row in scenario.rows if n_turns else ():
            ours = results.value(scenario.name, judged, row.figure)
            yield Line(
                scenario.title, row, ours, results.value(scenario.name, peer, row.figure) if peer else None, n_turns
            )


def _where(results: Results) -> str:
    return results.machine + (f", {results.threads} threads" if results.threads else "")


def _heads(results: Results) -> list[str]:
    return ["scenario", "measured", "turns", *results.sides, *(["ratio"] if len(results.sides) > 1 else []), "goal", ""]


def _cells(line: Line, results: Results) -> list[str]:
    sides = (
        [line.shown(line.ours), line.shown(line.peer), line.ratio]
        if len(results.sides) > 1
        else [line.shown(line.ours)]
    )
    return [line.title, line.row.label, str(line.n_turns), *sides, line.row.goal_text, line.verdict]


def markdown(results: Results) -> str:
    """Section of the document in Markdown: the machine, the table, and the failures."""
    heads = _heads(results)
    models = sorted({run.model for run in results.runs})
    parts = [f"{_where(results)}, {results.date}. Models: {', '.join(models)}."]
    if results.scale != 1:
        parts[0] += f" **Sizes times {results.scale:g}: a smoke test, no measurement.**"
    table = ["| " + " | ".join(heads[:-1]) + " | met |", "|" + "---|" * len(heads)]
    for line in lines(results):
        cells = _cells(line, results)
        table.append(
            "| " + " | ".join([*cells[:-1], f"**{cells[-1]}**" if cells[-1] == "not met" else cells[-1]]) + " |"
        )
    parts.append("\n".join(table))
    if results.failures:
        parts.append("\n".join(["Failed:", "", *(f"- {failure}" for failure in results.failures)]))
    return "\n\n".join(parts)


def table(results: Results) -> Table:
    """Table for a terminal."""
    shown = Table(*_heads(results), title=_where(results), title_justify="left")
    styles = {"met": "green", "not met": "bold red"}
    previous = ""
    for line in lines(results):
        title, *cells, verdict = _cells(line, results)
        # Only the first row of a scenario has its title.
        shown.add_row("" if title == previous else title, *cells, Text(verdict, styles.get(verdict, "")))
        previous = title
    return shown


def plot(results: Results) -> Table:
    """A bar for each figure and side; the longer of a pair fills the width."""
    shown = Table.grid(padding=(0, 1))
    for line in lines(results):
        values = [line.ours, line.peer][: len(results.sides)]
        longest = max((value for value in values if value is not None), default=0)
        better = "less is better" if line.row.unit == "s" else "more is better"
        shown.add_row(Text(f"{line.title}: {line.row.label}", "bold"), Text(better, "dim"))
        for side, value, color in zip(results.sides, values, BAR_COLORS, strict=False):
            bar = Bar(longest or 1, 0, value or 0, width=BAR_WIDTH, color=color)
            shown.add_row(Text(f"  {side} {line.shown(value)}", justify="right"), bar)
    return shown


def replace_section(text: str, name: str, body: str) -> str:
    """Replaces the text between `<!-- name:begin -->` and `<!-- name:end -->`. Raises ValueError unless each mark occurs once, in
    this order."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the document needs the marks {begin} and {end}, each once and in this order")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{body.strip()}\n\n{end}{rest.partition(end)[2]}"


def write_section(name: str, body: str, docs: Path = DOCS) -> None:
    """Replaces a section of a document; see replace_section()."""
    docs.write_text(replace_section(docs.read_text("utf-8"), name, body), "utf-8")


def write_docs(results: Results, docs: Path = DOCS) -> None:
    write_section(SECTION, markdown(results), docs)


def show(results: Results, console: Console | None = None) -> None:
    """Prints everything."""
    console = console or Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    console.print(table(results), plot(results), sep="\n")
    for failure in results.failures:
        console.print(f"FAILED {failure}", style="bold red", markup=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--markdown", action="store_true", help="print the table as it stands in the document")
    parser.add_argument("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    args = parser.parse_args()
    try:
        results = read_results(args.files)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if args.markdown:
        print(markdown(results))
    else:
        show(results)
    if args.write_docs:
        write_docs(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
