"""`python -m tests.architectures.table FOLDER`: writes the sweep's findings as a table into docs/MODELS.md."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.markdown import markdown_table
from llmcore.llama.ffi.library import load_library
from tests.architectures.findings import Findings, read_findings
from tests.architectures.sweep import TYPES

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "MODELS.md"
BEGIN, END = "<!-- sweep: begin (make test-families writes this part) -->", "<!-- sweep: end -->"

_HEADS = (
    "architecture",
    "memory",
    *TYPES,
    "packed",
    "flash attention",
    "q8_0 cells",
    "cut",
    "tokens taken back",
    "answers, forks, states",
)
# Folders, and the prefix of a log line.
_PASSED_OVER = re.compile(r"\S*/(?=\S+\.(?:cpp|c|h|hpp|gguf)\b)|\S+Z critical llmcore\.native native code aborts: ")
_MESSAGE_MAX = 240

Group = dict[str, Findings]  # by type


def document_with(text: str, part: str) -> str:
    """Returns the document with another text between the marks."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{DOCUMENT} has no marks for the sweep's part"
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


def part(found: Sequence[Findings], order: Sequence[str], origin: str) -> str:
    """Returns the text between the marks. `order` are the names of architectures; `origin` is the machine and commit of the run."""
    groups: dict[str, Group] = {name: {} for name in order}
    for each in found:
        groups.setdefault(each.architecture, {})[each.quant] = each
    groups = {name: group for name, group in groups.items() if group}
    ran = {name: group for name, group in groups.items() if any(not each.absent for each in group.values())}
    tables = [origin, markdown_table(_HEADS, [_row(name, group) for name, group in ran.items()])]
    absent = [(each, each.absent) for group in groups.values() for each in group.values() if each.absent]
    tables.append("### Refused, or ended by llama.cpp alone\n\n" + _messages(absent))
    faults = [(each, fault) for group in groups.values() for each in group.values() for fault in each.faults]
    tables.append("### Known not to work\n\n" + (_messages(faults) if faults else "Nothing in this sweep."))
    theirs = [
        (each, end.words) for group in ran.values() for each in group.values() if not each.absent for end in each.ended
    ]
    theirs = [(each, words) for each, words in theirs if words not in each.faults]
    if theirs:
        tables.append("### Ended in llama.cpp alone, and not with llmcore\n\n" + _messages(theirs))
    return "\n\n".join(tables)


def _row(name: str, group: Group) -> list[str]:
    ran = [each for each in group.values() if not each.absent]
    first = ran[0]
    makes_text = first.generates
    return [
        name,
        first.kind,
        *(_errors(group.get(quant)) for quant in TYPES),
        " / ".join(f"{100 * group[quant].packed:.0f} %" for quant in TYPES[1:] if quant in group),
        _yes(first, "flash"),
        _yes(first, "q8_0") if makes_text else "–",
        _cut(first) if makes_text else "–",
        _taken_back(first) if makes_text else "–",
        _agrees(ran),
    ]


def _errors(found: Findings | None) -> str:
    """Returns our errors, and in brackets those of ggml's own kernels."""
    if found is None or found.absent or "ours" not in found.errors:
        return "–"
    ours, theirs = (max(found.errors[who]) if who in found.errors else None for who in ("ours", "ggml"))
    return f"{_figure(ours)} ({_figure(theirs)})"


def _figure(error: float | None) -> str:
    if error is None:
        return "ended"
    return "0" if error < 1e-6 else f"{error:.1e}" if error < 1e-4 else f"{error:.2g}"


def _yes(found: Findings, setting: str) -> str:
    return "no" if found.problems.get(setting) or (setting == "flash" and not found.has_flash) else "yes"


def _cut(found: Findings) -> str:
    return "anywhere" if found.sliceable else "in the window" if found.cuttable else "no"


def _taken_back(found: Findings) -> str:
    return "no" if found.continued.get("cut") is None else "yes"


def _agrees(ran: Sequence[Findings]) -> str:
    if any(each.faults for each in ran):
        return "see below"
    return "agree" if not any(each.is_wild for each in ran) else "agree as far as rounding lets"


def _messages(lines: Iterable[tuple[Findings, str]]) -> str:
    """Returns a table of types and architectures for each message, similar ones together."""
    told: dict[tuple[str, str], list[str]] = {}
    for found, message in lines:
        short = _PASSED_OVER.sub("", message).replace(f"{found.architecture}-{found.quant}", found.architecture)
        short = " ".join(short.replace("-exact.gguf", ".gguf").replace("|", "\\|").split())
        if len(short) > _MESSAGE_MAX:
            short = short[:_MESSAGE_MAX] + "…"
        told.setdefault((found.architecture, short), []).append(found.quant)
    rows = [[name, ", ".join(dict.fromkeys(quants)), message] for (name, message), quants in told.items()]
    return markdown_table(("architecture", "types", "what it ends with"), rows)


def origin(found: Sequence[Findings], seconds: float) -> str:
    n_of = Counter(each.commit or "unknown" for each in found).most_common()
    commits = n_of[0][0] + "".join(f" ({n} cases at {commit})" for commit, n in n_of[1:])
    levels = ", ".join(sorted({each.kernels for each in found if each.kernels}))
    info = load_library().build_info()
    return (
        f"Run on {machine()}; kernels of level {levels}; llama.cpp {info['llama_cpp']}-{info['llama_cpp_commit']}; llmcore at "
        f"commit {commits}. {len(found)} cases, {seconds / 60:.0f} minutes of processes, as many at a "
        "time as there are cores."
    )


def main() -> None:
    from tests.architectures.names import architecture_names

    found = [read_findings(path) for path in sorted(Path(sys.argv[1]).glob("*.json"))]
    told = part(found, architecture_names(), origin(found, sum(each.seconds for each in found)))
    DOCUMENT.write_text(document_with(DOCUMENT.read_text("utf-8"), told), "utf-8")


if __name__ == "__main__":
    main()
