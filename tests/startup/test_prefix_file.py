"""The file of prefixes to pin at start."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from llmcore.errors import ConfigError
from llmcore.messages import ChatPrompt, TextPrompt, TokensPrompt
from llmcore.startup.prefix_file import read_prefix_file


def test_a_prefix_file_has_messages_texts_and_tokens(tmp_path: Path) -> None:
    file = tmp_path / "prefixes.json"
    messages = [{"role": "system", "content": "Be brief."}]
    entries = [
        {"name": "chat", "messages": messages},
        {"name": "text", "prompt": "Once"},
        {"name": "tokens", "prompt": [1, 2]},
    ]
    file.write_bytes(msgspec.json.encode(entries))
    chat, text, tokens = read_prefix_file(str(file))
    assert isinstance(chat.prompt, ChatPrompt)
    assert msgspec.json.decode(chat.prompt.messages) == messages
    assert (text.name, text.prompt, tokens.prompt) == ("text", TextPrompt("Once"), TokensPrompt((1, 2)))


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([{"name": "no name", "prompt": "x"}], "'no name' is no name"),
        ([{"name": "a", "prompt": "x"}, {"name": "a", "prompt": "y"}], "the name 'a' is not unique"),
        ([{"name": "a"}], "'a' must have either messages or prompt"),
        ([{"name": "a", "prompt": "x", "messages": []}], "'a' must have either messages or prompt"),
        ([{"name": "a", "prompt": "x", "tools": []}], "'a' has tools without messages"),
        ([{"name": "a", "prompt": "x", "text": "y"}], "unknown field"),
    ],
)
def test_an_entry_at_fault_is_named(tmp_path: Path, entries: object, problem: str) -> None:
    file = tmp_path / "prefixes.json"
    file.write_bytes(msgspec.json.encode(entries))
    with pytest.raises(ConfigError, match=problem):
        read_prefix_file(str(file))
