"""Measures speculation: rates with and without it, in turns, in this process; and over HTTP beside llama-server's own.

    python -m benchmarks.speculation [--only 1b,8b,default] [--turns 3] [--tokens 128] [--http nothing] [--json FILE] [--write-docs]

In this process, one engine serves the same work with `speculation: "off"` and without that field, in an order that alternates.
Each run has a tenant of its own, so that no answer is drafted from an earlier run. The models of the 1B and 8B shapes
generate a chain of words (chain_model.py), and their prompts predict it at a known rate. The default model quotes, talks and
extracts facts. Over HTTP, each setting of each server is started anew for each turn.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks.chain import Chain
from benchmarks.chain_model import chain_model
from benchmarks.load import LoadError
from benchmarks.machine import machine
from benchmarks.make_model import VOCABULARY
from benchmarks.named import named_model
from benchmarks.passages import PASSAGES
from benchmarks.report import write_section
from benchmarks.servers import LlamaServer, Ours, Setting, Side, StartError
from benchmarks.source import vocabulary
from benchmarks.speculation_report import OURS, PEER, LocalFinding, ServerFinding, markdown
from benchmarks.speculation_runs import LocalRun, run_locally, run_over_http
from benchmarks.speculation_work import DRAFT_ACCEPTANCE, WORKS, Job, Work, jobs
from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import LlmcoreError
from llmcore.machine.threads import decide_threads

SECTION = "speculation"
Peers = Literal["llama-server", "ours", "nothing"]

# Cells beyond those of prompts and answers: for chat templates and passages, and for drafts.
_CELLS_MORE, _CELLS_CHAT, _CELLS_STEP = 64, 768, 256

# Kinds of speculation of llama-server. Its n-gram kinds match at least 12 tokens by default; the last one is set for short matches.
_PEER_KINDS: dict[str, tuple[str, ...]] = {
    "": (),
    "ngram-simple": ("--spec-type", "ngram-simple"),
    "ngram-mod": ("--spec-type", "ngram-mod"),
    "default": ("--spec-default",),
    "ngram-simple, 4 and 8": (
        *("--spec-type", "ngram-simple"),
        *("--spec-ngram-simple-size-n", "4", "--spec-ngram-simple-size-m", "8"),
    ),
}


class Models:
    """Files of the works' models by their names; made if they are missing."""

    def path(self, name: str) -> Path:
        """Returns the model 1b, 8b or default. Raises ValueError without the default model."""
        return named_model(name) if name == "default" else chain_model(name)

    def draft(self, work: Work) -> Path | None:
        """Returns the draft model of a work, which is wrong at a part of the tokens."""
        return chain_model(work.draft, wrong=1 - DRAFT_ACCEPTANCE) if work.draft else None

    def chain(self, name: str) -> Chain | None:
        """Returns the text of a chain model."""
        return None if name == "default" else Chain(vocabulary(VOCABULARY))


@dataclass(frozen=True)
class Plan:
    """Sizes of a measurement: `n_answer` tokens of each answer, `n_jobs` answers of the default model."""

    threads: int
    turns: int
    n_answer: int
    n_jobs: int = len(PASSAGES)

    def jobs(self, work: Work, turn: int, chain: Chain | None) -> list[Job]:
        """Returns the jobs of a turn."""
        return jobs(work, turn, self.n_answer, chain, self.n_jobs)

    def setting(self, work: Work, model: Path, chain: Chain | None) -> Setting:
        """Returns the settings of a server or an engine that the work fits into."""
        longest = max(len(job.tokens) for job in self.jobs(work, 0, chain)) or _CELLS_CHAT
        # Other turns replace other numbers of tokens.
        n_cells = longest * 5 // 4 + self.n_answer + _CELLS_MORE
        return Setting(model, self.threads, work.n_callers, -(-n_cells // _CELLS_STEP) * _CELLS_STEP)


# --- In this process --------------------------------------------------------------------------------------------------


def measure_locally(work: Work, plan: Plan, models: Models) -> LocalFinding:
    """Measures a work with and without speculation. Raises LoadError for a wrong answer of a chain model, and LlmcoreError."""
    chain = models.chain(work.model)
    setting = plan.setting(work, models.path(work.model), chain)
    draft = models.draft(work)
    config = EngineConfig(
        model_path=str(setting.model),
        draft_model="" if draft is None else str(draft),
        threads=setting.threads,
        n_ctx=setting.n_cells,
        n_slots=setting.n_slots,
    )
    runs: list[dict[bool, LocalRun]] = []
    with Engine.open(config) as engine:
        engine.warm_up()
        _run(engine, work, plan.jobs(work, plan.turns, chain), "warm-up", is_speculative=True)
        for turn in range(plan.turns):
            batch = plan.jobs(work, turn, chain)
            order = (False, True) if turn % 2 == 0 else (True, False)
            runs.append({each: _run(engine, work, batch, f"{turn}, {each}", is_speculative=each) for each in order})
            without, with_it = (runs[-1][each].rate.tokens_per_s for each in (False, True))
            _say(f"{work.title()}, turn {turn + 1}: {without:.1f} tok/s without, {with_it:.1f} with")
    return local_finding(work, runs)


def _run(engine: Engine, work: Work, batch: list[Job], name: str, *, is_speculative: bool) -> LocalRun:
    run = run_locally(engine, batch, work.n_callers, name=name, is_speculative=is_speculative)
    for job, answer in zip(batch, run.answers, strict=True):
        if job.expected is not None and answer != job.expected:
            raise LoadError(f"{work.title()}: an answer is not the chain")
    return run


def local_finding(work: Work, runs: Sequence[dict[bool, LocalRun]]) -> LocalFinding:
    """Returns the finding of a work by its runs with (True) and without speculation."""
    n_drafted = sum(each[True].n_drafted for each in runs)
    return LocalFinding(
        work=work.title(),
        pairs=tuple((each[False].rate.tokens_per_s, each[True].rate.tokens_per_s) for each in runs),
        goal=work.goal,
        tokens_per_step=sum(each[True].tokens_per_step for each in runs) / len(runs),
        acceptance=sum(each[True].n_accepted for each in runs) / n_drafted if n_drafted else None,
        is_same=all(each[True].answers == each[False].answers for each in runs),
    )


# --- Over HTTP --------------------------------------------------------------------------------------------------------


def sides(work: Work, draft: Path | None, *, has_peer: bool) -> dict[str, Side]:
    """Returns the servers to measure a work with, by the names of their settings."""
    found: dict[str, Side] = {f"{OURS}, off": Ours(("--speculation", "off"))}
    peer_kinds = dict(_PEER_KINDS)
    if draft is None:
        found[OURS] = Ours(("--speculation", "auto"))
    else:
        found[OURS] = Ours(("--speculation", "auto", "--draft-model", str(draft)))
        peer_kinds = {"": (), "draft-simple": ("--spec-type", "draft-simple", "--spec-draft-model", str(draft))}
    if has_peer:
        found |= {f"{PEER}{kind and ', '}{kind}": LlamaServer(flags) for kind, flags in peer_kinds.items()}
    return found


def measure_over_http(work: Work, plan: Plan, models: Models, *, has_peer: bool) -> ServerFinding:
    """Measures all settings in turns. A server that does not start is a failure of its setting."""
    chain = models.chain(work.model)
    setting = plan.setting(work, models.path(work.model), chain)
    compared = sides(work, models.draft(work), has_peer=has_peer)
    finding = ServerFinding(work.title(), {name: [] for name in compared}, {})
    for turn in range(plan.turns):
        batch = plan.jobs(work, turn, chain)
        names = list(compared) if turn % 2 == 0 else list(reversed(compared))
        for name in names:
            try:
                with compared[name].serve(setting) as url:
                    asyncio.run(
                        run_over_http(url, plan.jobs(work, plan.turns, chain)[: work.n_callers], work.n_callers)
                    )
                    run = asyncio.run(run_over_http(url, batch, work.n_callers))
            except (LoadError, StartError, OSError, subprocess.SubprocessError) as error:
                finding.failures[name] = " ".join(str(error).split())
                _say(f"FAILED {work.title()}, {name}: {finding.failures[name]}")
            else:
                finding.rates[name].append(run.rate.tokens_per_s)
                _say(f"{work.title()}, {name}, turn {turn + 1}: {run.rate.tokens_per_s:.1f} tok/s")
    return finding


def is_served(work: Work) -> bool:
    """True for the works that are also measured over HTTP."""
    return work.model == "default" or bool(work.draft) or (work.goal is not None and work.n_callers == 1)


# --- Command line -----------------------------------------------------------------------------------------------------


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def chosen(only: str) -> list[Work]:
    """Returns the works of some models, or whose titles contain a text. Raises ValueError if a part of the list names none."""
    found: list[Work] = []
    for each in only.split(","):
        named = [work for work in WORKS if work.model == each or each in work.title()]
        if not named:
            raise ValueError(f"no work is of a model {each!r}, or has that in its title")
        found += [work for work in named if work not in found]
    return found


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add: Any = parsed.add_argument
    add("--only", default="1b,8b,default", help="models, or parts of the works' titles, with commas between")
    add("--turns", type=int, default=3, help="with and without in turns; medians count")
    add("--tokens", type=int, default=128, help="of each answer")
    add("--jobs", type=int, default=len(PASSAGES), help="answers of the default model")
    add("--threads", type=int, default=0)
    add(
        "--http",
        choices=get_args(Peers),
        default="llama-server",
        help="what to measure over HTTP: ours beside llama-server (built if it is missing, which takes minutes), ours, or nothing",
    )
    add("--json", type=Path, help="also write the findings to this file")
    add("--write-docs", action="store_true", help="replace the tables in docs/BENCHMARKS.md")
    return parsed


@dataclass
class Findings:
    """All findings so far, and the JSON file that they are written to."""

    head: str
    out: Path | None
    local: list[LocalFinding] = field(default_factory=list)
    served: list[ServerFinding] = field(default_factory=list)

    def text(self) -> str:
        """Tables in Markdown."""
        return markdown(self.local, self.served, self.head)

    def write(self) -> None:
        """Writes the JSON file, if one is wanted."""
        if self.out is not None:
            local, served = ([dataclasses.asdict(each) for each in found] for found in (self.local, self.served))
            self.out.write_text(json.dumps({"head": self.head, "local": local, "served": served}, indent=1), "utf-8")


def measure(works: Sequence[Work], plan: Plan, models: Models, findings: Findings, peers: Peers) -> None:
    """Measures works one after the other."""
    for work in works:
        findings.local.append(measure_locally(work, plan, models))
        if peers != "nothing" and is_served(work):
            findings.served.append(measure_over_http(work, plan, models, has_peer=peers == "llama-server"))
        findings.write()


def main(argv: Sequence[str] | None = None, models: Models | None = None) -> int:
    args = parser().parse_args(argv)
    plan = Plan(decide_threads(args.threads).n_threads, args.turns, args.tokens, args.jobs)
    if min(plan.turns, plan.n_jobs) < 1 or plan.n_answer < 8:
        parser().error("--turns, --jobs: at least 1; --tokens: at least 8")
    sizes = f"{plan.threads} threads, {plan.turns} turns, {plan.n_answer} tokens"
    findings = Findings(f"{machine()}, {sizes}, {time.strftime('%Y-%m-%d')}.", args.json)
    try:
        measure(chosen(args.only), plan, models or Models(), findings, args.http)
    except (LoadError, StartError, LlmcoreError, ValueError, FileNotFoundError) as error:
        print(f"benchmarks.speculation: {error}", file=sys.stderr)
        return 1
    finally:
        print(findings.text())
    if args.write_docs:
        write_section(SECTION, findings.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
