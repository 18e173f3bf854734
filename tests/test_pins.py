"""Prefixes on disk: what was kept comes back whole or not at all."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import numpy as np
import pytest

from llmcore.messages import ChatPrompt, TextPrompt, TokensPrompt
from llmcore.pins import PrefixStore, read_prefix_file

STATE = np.arange(1000, dtype=np.int64).view(np.uint8)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    store = PrefixStore(tmp_path / "kept", "model-1")
    assert store.load([1, 2, 3]) is None
    store.save([1, 2, 3], STATE)
    loaded = store.load([1, 2, 3])
    assert loaded is not None
    assert np.array_equal(loaded, STATE)
    assert store.load([1, 2]) is None
    assert [path.suffix for path in (tmp_path / "kept").iterdir()] == [".prefix"]


def test_another_model_or_build_finds_nothing(tmp_path: Path) -> None:
    PrefixStore(tmp_path, "model-1").save([1, 2, 3], STATE)
    assert PrefixStore(tmp_path, "model-2").load([1, 2, 3]) is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "header", "foreign"])
def test_what_is_damaged_is_not_loaded_and_said(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store = PrefixStore(tmp_path, "model-1")
    store.save([1, 2, 3], STATE)
    [path] = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        del data[-1:]
    elif damage == "flip":
        data[-5] ^= 1
    elif damage == "empty":
        data.clear()
    elif damage == "header":
        data[30] ^= 0xFF
    else:
        other = tmp_path / "other"
        PrefixStore(other, "model-2").save([1, 2, 3], STATE)
        data = bytearray(next(other.iterdir()).read_bytes())
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert store.load([1, 2, 3]) is None
    assert "prefix_damaged" in caplog.messages
    store.save([1, 2, 3], STATE)
    assert store.load([1, 2, 3]) is not None


def test_a_folder_that_cannot_be_used_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = PrefixStore(blocked, "model-1")
    with caplog.at_level(logging.WARNING):
        store.save([1], STATE)
        assert store.load([1]) is None
    assert "prefix_not_kept" in caplog.messages


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
