"""docs/SECURITY.md names an existing test for every promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "SECURITY.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", TEXT)))


def functions(path: Path) -> set[str]:
    """Names of the tests of a file. The file is parsed, not imported: some need a machine or a program that is not here."""
    tree = ast.parse(path.read_text("utf-8"))
    return {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_is_named_is_there(named: str) -> None:
    path, _, function = named.partition("::")
    assert (ROOT / path).is_file(), path
    if function:
        assert function in functions(ROOT / path)
        assert function.startswith("test_")


def test_every_promise_in_a_table_names_a_test() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) > 30
    assert [row for row in rows if "`tests/" not in row] == []


def test_no_name_is_written_in_another_form() -> None:
    """Otherwise the test above would not find them all."""
    assert len(re.findall(r"tests/[\w/]+\.py", TEXT)) == len(re.findall(r"`tests/[\w/]+\.py(?:::\w+)?`", TEXT))


@pytest.mark.parametrize("page", ["README.md", "docs/DEPLOYMENT.md", "docs/ARCHITECTURE.md"])
def test_it_can_be_found(page: str) -> None:
    assert "SECURITY.md" in (ROOT / page).read_text("utf-8")
