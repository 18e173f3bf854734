"""`llmcore rpc-server`: the program that replaces it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from llmcore.commands import rpc
from llmcore.errors import LibraryError


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    rpc.add_arguments(parser)
    return rpc.run(parser.parse_args(argv))


def test_a_build_without_it_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "library_dir", lambda: tmp_path)
    with pytest.raises(LibraryError, match="LLMCORE_RPC=ON"):
        run()


def test_the_process_becomes_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Replaced(Exception):
        pass

    def execv(path: Path, command: list[str]) -> None:
        assert path == tmp_path / rpc.PROGRAM
        raise Replaced(command[1:])

    (tmp_path / rpc.PROGRAM).write_bytes(b"")
    monkeypatch.setattr(rpc, "library_dir", lambda: tmp_path)
    monkeypatch.setattr(rpc, "check_global_scope", lambda folder: None)
    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(Replaced) as caught:
        run("--threads", "3", "--cache")
    assert caught.value.args[0] == ["-H", "127.0.0.1", "-p", "50052", "-t", "3", "-c"]
    with pytest.raises(Replaced) as caught:
        run("--host", "10.0.0.1", "--port", "7", "--threads", "1")
    assert caught.value.args[0] == ["-H", "10.0.0.1", "-p", "7", "-t", "1"]
