"""Text for strings that come from the system as bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import printable
from llmcore.machine.os_text import name_as_path, system_name


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"plain", "plain"),
        ("modèle".encode(), "modèle"),
        (b"m\xff\xe9d", "m\ufffd\ufffdd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ],
)
def test_a_name_is_its_bytes_as_utf_8(data: bytes, shown: str) -> None:
    assert system_name(data) == system_name(os.fsdecode(data)) == system_name(Path(os.fsdecode(data))) == shown


def test_bytes_that_this_locale_did_not_decode_are_read_as_utf_8() -> None:
    ascii_locale = "modèle".encode().decode("ascii", "surrogateescape")
    assert printable(ascii_locale) == "modèle"


def test_a_surrogate_that_stands_for_no_byte() -> None:
    assert printable("a\ud800b") == system_name("a\ud800b") == "a\ufffdb"


@given(st.binary())
def test_any_bytes_are_text_and_valid_utf_8_is_kept(data: bytes) -> None:
    text = os.fsdecode(data)
    assert printable(text) == system_name(text) == data.decode("utf-8", "replace")


@given(st.text(st.characters(categories=None)))  # surrogates too
def test_any_text_can_be_sent(text: str) -> None:
    sent = printable(text).encode("utf-8").decode("utf-8")
    assert sent == printable(sent)
    if not any(0xD800 <= ord(each) <= 0xDFFF for each in text):
        assert sent == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_name_from_elsewhere_is_utf_8_on_the_disk(name: str) -> None:
    assert os.fsencode(name_as_path(name)) == name.encode("utf-8")
    assert system_name(name_as_path(name)) == name
