"""Paths of ignored fields: bounded and safe for a header."""

from __future__ import annotations

from llmcore_app.http.ignored_fields import IgnoredFields, join


def test_paths_are_told_once_without_indices() -> None:
    ignored = IgnoredFields()
    assert ignored.header() == ""
    for path in ("call", "customer.number", "messages[0].mood", "messages[17].mood", "call"):
        ignored.add(path, "unknown")
    assert ignored.header() == "call, customer.number, messages[].mood"


def test_names_of_callers_become_safe() -> None:
    assert join("", "a,b\r\nX-Evil: 1\x00é🌍") == "a?b??X-Evil??1???"
    assert join("tools[0]", "x-y_z$1") == "tools[0].x-y_z$1"
    assert (join("", ""), join("a", "")) == ("?", "a.?")
    assert join("", "n" * 64) == "n" * 64
    assert join("", "n" * 30_000) == "n" * 61 + "..."


def test_the_header_and_the_paths_are_bounded() -> None:
    ignored = IgnoredFields()
    for n in range(1000):
        ignored.add(join("", f"field_{n:03d}_{'x' * 90}"), "unknown")
    header = ignored.header()
    assert len(ignored.paths) == 64
    assert len(header) < 600
    shown = header.split(", ")
    assert shown[-1] == f"and {1000 - len(shown) + 1} more"
