"""First words of docstrings: a verb or a noun, in plain English (docs/ARCHITECTURE.md, "Rules")."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Words that begin a clause instead of naming a thing or an action.
REFUSED = {
    *(
        "as",
        "at",
        "but",
        "by",
        "for",
        "from",
        "how",
        "in",
        "not",
        "of",
        "on",
        "so",
        "that",
        "to",
        "what",
        "where",
        "which",
    ),
    *("anybody", "everybody", "nobody", "somebody", "who", "whoever", "whom", "whose", "why", "with", "without"),
}


def documented(path: Path) -> list[tuple[int, str]]:
    """(line, docstring) of the module, its classes and functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                found.append((getattr(node, "lineno", 1), text))
    return found


def files() -> list[Path]:
    paths = [path for top in ("llmcore", "app", "benchmarks") for path in (ROOT / top).rglob("*.py")]
    return sorted(path for path in paths if path.read_text("utf-8"))


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_docstring_begins_with_a_verb_or_a_noun(path: Path) -> None:
    wrong = [
        f"line {line}: {text.split()[0]} …" for line, text in documented(path) if text.split()[0].lower() in REFUSED
    ]
    assert wrong == []
