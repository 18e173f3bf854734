"""The command line `llmcore`. Commands of other packages (`serve` of the HTTP service) are found by entry point.

A command is a module with `add_arguments(parser)`, `run(args) -> int` and a docstring whose first line is its help.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from types import ModuleType

import llmcore
from llmcore.errors import LlmcoreError

COMMANDS_GROUP = "llmcore.commands"
_OWN_COMMANDS = {
    "chat": "llmcore.commands.chat",
    "doctor": "llmcore.commands.doctor",
    "pull": "llmcore.commands.pull",
    "rpc-server": "llmcore.commands.rpc",
    "tune": "llmcore.commands.tune",
}


def commands(only: str | None = None) -> dict[str, ModuleType]:
    """Imports and returns the commands by name; with `only`, at most that one, so that no others are imported."""
    found = {name: module for name, module in _OWN_COMMANDS.items() if only in (None, name)}
    loaded = {name: importlib.import_module(module) for name, module in found.items()}
    loaded.update(
        {entry.name: entry.load() for entry in entry_points(group=COMMANDS_GROUP) if only in (None, entry.name)}
    )
    return dict(sorted(loaded.items()))


def version_text() -> str:
    """Text of `--version`: our version, llama.cpp's, BLAS and the CPU features in use. Loads the native library."""
    from llmcore.config import KERNEL_LEVELS
    from llmcore.llama.ffi.library import load_library

    lib = load_library()
    build = lib.build_info()
    blas = build["blas"]
    lines = [
        f"llmcore {llmcore.__version__}",
        f"llama.cpp {build['llama_cpp']} ({build['llama_cpp_commit']}), built with {build['compiler']}",
        f"BLAS: {blas['source'] + ' (off unless asked for)' if blas['built'] else 'not built'}",
    ]
    level = KERNEL_LEVELS[lib.lc_kernels_best()]
    lines.append(f"kernels: {level if level != 'none' else 'none for this machine or build'}")
    for backend in lib.backends():
        features = " ".join(name for name, value in backend.get("features", {}).items() if value not in ("0", ""))
        lines.append(f"backend {backend['name']}: {features or 'no features reported'}")
    return "\n".join(lines)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(version_text())
        parser.exit()


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llmcore", description="A fast, dependable LLM service for CPUs.")
    parser.add_argument("--version", action=_Version, nargs=0, help="versions, BLAS and CPU features in use, and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, module in (commands(argv[0]) if argv else {}).items() or commands().items():
        summary = (module.__doc__ or "").strip().splitlines()[0]
        command = subparsers.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns its exit status: 1 for an LlmcoreError, which is one line on standard error, 2 for bad usage."""
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is not UTF-8, or a character that the locale lacks, must not fail a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        parser = _parser(argv)
        args = parser.parse_args(argv)
        if args.command is None:
            parser.print_help()
            return 0
        status: int = args.run(args)
        return status
    except LlmcoreError as error:
        print(f"llmcore: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
