"""The API reference is made of the docstrings without a warning, and has what users call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import llmcore

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages."""
    target = tmp_path_factory.mktemp("reference")
    command = [sys.executable, str(ROOT / "docs" / "reference.py"), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == f"{target / 'index.html'}\n"
    return target


def test_every_public_name_is_on_the_first_page(folder: Path) -> None:
    page = (folder / "llmcore.html").read_text("utf-8")
    assert [name for name in llmcore.__all__ if f'id="{name}"' not in page] == []


@pytest.mark.parametrize("class_name", ["LLM", "AsyncLLM", "Model", "Context", "Sampler", "Batch"])
def test_public_methods_have_an_entry(folder: Path, class_name: str) -> None:
    page = (folder / "llmcore.html").read_text("utf-8")
    public = [name for name in vars(getattr(llmcore, class_name)) if not name.startswith("_")]
    assert public
    assert [name for name in public if f'id="{class_name}.{name}"' not in page] == []


def test_the_arguments_of_answers_are_listed(folder: Path) -> None:
    page = (folder / "llmcore" / "library" / "options.html").read_text("utf-8")
    assert 'id="ChatOptions.tools"' in page
    assert 'id="GenerateOptions.logprobs"' in page
