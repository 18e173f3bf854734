"""Check this machine, the installation and the model, and give advice."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmcore import config
from llmcore.config import EngineConfig
from llmcore.doctor.check import Check, has_failed
from llmcore.doctor.install_checks import check_blas, check_library, check_memory, check_model, check_port
from llmcore.doctor.library_probe import probe
from llmcore.doctor.machine_checks import (
    check_cpu_features,
    check_governor,
    check_huge_pages,
    check_openmp,
    check_threads,
    check_throttling,
)
from llmcore.errors import ConfigError, LibraryError
from llmcore.hub import model_store
from llmcore.llama.ffi.library import library_dir
from llmcore.machine.options import add_flags
from llmcore.machine.threads import decide_threads

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}

Config = TypeVar("Config")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    add_flags(parser, config.configs()["service"])
    add_flags(parser, EngineConfig)


def run(args: argparse.Namespace) -> int:
    """Prints all checks. Returns 0 if none failed, else 1."""
    checks = examine(vars(args), os.environ)
    if args.json:
        words = [dataclasses.asdict(check) for check in checks]
        print(json.dumps({"ok": not has_failed(checks), "checks": words}, indent=1))
    elif sys.stdout.isatty():
        _show(checks, Console())
    else:
        print(*_lines(checks), sep="\n")
    return int(has_failed(checks))


def examine(flags: Mapping[str, Any], environ: Mapping[str, str]) -> list[Check]:
    """Runs all checks for the configuration that `serve` would have with these flags and this environment."""
    engine, server, problems = _configs(flags, environ)
    decision = decide_threads(engine.threads, engine.threads_batch)
    finding = probe(engine)
    checks = [
        *problems,
        _check_cpu(),
        check_library(finding),
        check_blas(finding, wanted=engine.blas == "on"),
        check_threads(decision),
        check_throttling(),
        check_openmp(environ, decision),
        check_governor(frozenset(os.sched_getaffinity(0))),
        check_huge_pages(),
        check_model(engine),
        check_memory(finding),
        check_port(server.host, server.port),
    ]
    if server.admin_port >= 0:
        checks.append(check_port(server.admin_host, server.admin_port, name="admin port"))
    return checks


def _configs(flags: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[EngineConfig, Any, list[Check]]:
    """Reads the configuration. An invalid part becomes a failed check, and its default is used for the other checks."""
    engine, engine_problems = _load(EngineConfig, flags, environ)
    server, server_problems = _load(config.configs()["service"], flags, environ)
    problems = list(dict.fromkeys(engine_problems + server_problems))
    if not engine.model_path:
        path = model_store.default_model_path(environ)
        engine = dataclasses.replace(engine, model_path=str(path or ""))
    return engine, server, problems or [Check("configuration", "ok", "flags and environment are valid")]


def _load(kind: type[Config], flags: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Config, list[Check]]:
    try:
        return config.load(kind, flags, environ), []
    except ConfigError as error:
        advice = "correct it; until then the checks below are of the default configuration"
        return kind(), [Check("configuration", "fail", error.message, advice)]


def _check_cpu() -> Check:
    try:
        return check_cpu_features(library_dir())
    except LibraryError as error:
        return Check("cpu", "fail", error.message, "make build, or pip install .")


def _lines(checks: Iterable[Check]) -> Iterable[str]:
    for check in checks:
        yield f"{check.status:5}{check.name}: {check.found}"
        if check.advice and check.status != "ok":
            yield f"     -> {check.advice}"


def _show(checks: Iterable[Check], console: Console) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        style = _STYLES[check.status]
        found = check.found + (f"\n→ {check.advice}" if check.advice and check.status != "ok" else "")
        table.add_row(f"[{style}]{check.status}[/]", f"[bold]{check.name}[/]", Text(found))
    console.print(table)
