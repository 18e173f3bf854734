"""Errors carry text, whatever they are made of."""

from __future__ import annotations

import os

import msgspec

from llmcore.errors import ModelMissingError

NAME = os.fsdecode(b"m\xff\xc3\xa8")


def test_a_message_about_a_file_that_is_not_utf_8_can_be_sent() -> None:
    error = ModelMissingError(f"there is no {NAME}", param=os.fsdecode(b"p\xff"))
    assert (error.message, error.param) == ("there is no m\ufffdè", "p\ufffd")
    assert str(error) == error.message
    assert msgspec.json.decode(msgspec.json.encode([error.message, error.param])) == [error.message, error.param]
