"""Lend this machine to models that are larger than one (llama.cpp's RPC server; private networks only)."""

from __future__ import annotations

import argparse
import os
import sys

from llmcore.errors import LibraryError
from llmcore.llama.ffi.library import library_dir
from llmcore.llama.ffi.origin import check_global_scope
from llmcore.machine.threads import decide_threads

PROGRAM = "ggml-rpc-server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1). Anyone who can reach it can read and write this process's memory: "
        "there are no keys and no encryption",
    )
    parser.add_argument("--port", type=int, default=50052, help="port to listen on (default: 50052)")
    parser.add_argument(
        "--threads", type=int, default=0, help="threads; 0 takes what the machine and its limits allow (default: 0)"
    )
    parser.add_argument(
        "--cache", action="store_true", help="keep weights on disk, so that the next load need not send them again"
    )


def run(args: argparse.Namespace) -> int:
    """Replaces this process by the server. Raises LibraryError if this build has none, or if another llama.cpp would be loaded."""
    program = library_dir() / PROGRAM
    if not program.exists():
        raise LibraryError("this build has no RPC server: build with CMAKE_ARGS=-DLLMCORE_RPC=ON")
    check_global_scope(program.parent)
    threads = decide_threads(args.threads).n_threads
    command = [str(program), "-H", args.host, "-p", str(args.port), "-t", str(threads)]
    sys.stdout.flush()
    os.execv(program, command + (["-c"] if args.cache else []))
