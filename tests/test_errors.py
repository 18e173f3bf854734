"""Errors carry text, whatever they are made of."""

from __future__ import annotations

import os

import msgspec

from llmcore.errors import LlmcoreError, ModelMissingError, error_from_code

NAME = os.fsdecode(b"m\xff\xc3\xa8")


def test_a_message_about_a_file_that_is_not_utf_8_can_be_sent() -> None:
    error = ModelMissingError(f"there is no {NAME}", param=os.fsdecode(b"p\xff"))
    assert (error.message, error.param) == ("there is no m\ufffdè", "p\ufffd")
    assert str(error) == error.message
    assert msgspec.json.decode(msgspec.json.encode([error.message, error.param])) == [error.message, error.param]


def classes(cls: type[LlmcoreError] = LlmcoreError) -> list[type[LlmcoreError]]:
    return [cls, *(deeper for child in cls.__subclasses__() for deeper in classes(child))]


def test_each_error_of_llmcore_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in classes() if cls.__module__ == "llmcore.errors"]
    assert len(codes) == len(set(codes)) > 30


def test_an_error_crosses_a_process_boundary() -> None:
    for cls in (cls for cls in classes() if cls.__module__ == "llmcore.errors"):
        error = error_from_code(cls.code, "why", "field")
        assert type(error) is cls
        assert (error.message, error.param) == ("why", "field")
    assert error_from_code("overloaded", "full", retry_after_s=2.5).retry_after_s == 2.5
    assert type(error_from_code("unheard_of", "why")) is LlmcoreError
