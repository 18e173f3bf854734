"""docs/CONFIGURATION.md is generated."""

from __future__ import annotations

from pathlib import Path

from llmcore.commands.configuration import document

ROOT = Path(__file__).parent.parent.parent


def test_the_document_is_what_the_declarations_make() -> None:
    written = (ROOT / "docs" / "CONFIGURATION.md").read_text("utf-8")
    assert written == document(), "run: python -m llmcore.commands.configuration > docs/CONFIGURATION.md"
