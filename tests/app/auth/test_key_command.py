"""The command that makes API keys."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from llmcore_app.auth.key_command import generate_key
from llmcore_app.auth.keys import hash_key
from llmcore_app.config import ServerConfig
from tests.app.auth.test_keys import keys_of, write


def test_a_new_key_and_its_line_belong_together(tmp_path: Path) -> None:
    key, line = generate_key("bot")
    assert key not in str(line)
    assert generate_key("bot")[0] != key
    keys = keys_of(ServerConfig(api_keys_file=write(tmp_path, msgspec.json.encode(line).decode())))
    found = keys.find(key.encode())
    assert found is not None
    assert found.name == "bot"
    for wrong in (b"", key.encode()[:-1], key.encode() + b"x", line.sha256.encode(), b"\xff"):
        assert keys.find(wrong) is None


@pytest.mark.parametrize("may_pin", [True, False])
def test_a_line_has_the_hash_and_the_right_to_pin(may_pin: bool) -> None:
    key, line = generate_key("bot", may_pin=may_pin)
    assert (line.sha256, line.pin) == (hash_key(key.encode()).hex(), may_pin)
    assert (b'"pin":false' in msgspec.json.encode(line)) == (not may_pin)


def test_the_command_makes_a_key_once() -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llmcore.commands.cli", "key", *args], capture_output=True, text=True, check=False
        )

    shown = run("bot").stdout
    key = re.search(r"sk-llmcore-\S{43}", shown)
    assert key is not None
    assert '{"name":"bot","sha256":"' in shown
    refused = run("a b")
    assert refused.returncode == 1
    assert refused.stderr.startswith("llmcore: a key's name")
