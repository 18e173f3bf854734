"""docs/PYTHON.md: its blocks run as one program and are well typed, and its tables are true."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore import LLM, AsyncLLM
from llmcore.errors import LlmcoreError
from llmcore.library.other_names import ANSWER_NAMES, ENGINE_NAMES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "PYTHON.md"
LINES = PAGE.read_text("utf-8").splitlines()


def program() -> str:
    """The blocks, in the lines in which they stand in the page."""
    lines, is_code = [], False
    for line in LINES:
        is_end = line == "```"
        lines.append(line if is_code and not is_end else "")
        is_code = line == "```python" or (is_code and not is_end)
    return "\n".join(lines) + "\n"


def rows(heading: str) -> list[list[str]]:
    """Cells of the table with these column names."""
    start = LINES.index(heading) + 2
    end = next(index for index in range(start, len(LINES)) if not LINES[index].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in LINES[start:end]]


def test_the_blocks_run(pulled_model: Path) -> None:
    run = f"exec(compile({program()!r}, {PAGE.name!r}, 'exec'))"
    command = [sys.executable, "-W", "error", "-c", run]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert len(done.stdout.splitlines()) > 40


def test_the_blocks_are_well_typed(tmp_path: Path) -> None:
    path = tmp_path / "python_page.py"
    path.write_text(program(), "utf-8")
    # A page of one program imports where it needs something, which no rule of types forbids.
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def names(pulled_model: Path) -> Iterator[dict[str, Any]]:
    """The names of `llmcore`, and those that the page has made before the table of mistakes."""
    with LLM(pulled_model, n_ctx=512) as llm:
        questions = [[{"role": "user", "content": "What is 0 plus 1?"}]]
        yield {"llm": llm, "questions": questions} | {name: getattr(llmcore, name) for name in llmcore.__all__}


@pytest.mark.parametrize(("call", "message"), rows("| call | message |"), ids=lambda cell: cell[:40])
def test_a_mistake_says_so(call: str, message: str, names: dict[str, Any]) -> None:
    with pytest.raises(LlmcoreError) as caught:
        eval(call.strip("`"), names)
    if message.startswith("… "):
        assert caught.value.message.endswith(message[1:])
    else:
        assert caught.value.message == message


def test_methods_that_are_named_exist() -> None:
    text = "\n".join(LINES)
    named = {*re.findall(r"\bllm\.(\w+)\(", text)}
    others = {each for row in rows("| llama-cpp-python | llmcore |") for each in re.findall(r"\bllm\.(\w+)\(", row[0])}
    assert {"generate", "chat", "score", "save"} <= named
    assert sorted(name for name in named - others if not hasattr(LLM, name)) == []
    only_llm = re.search(r"((?:`\w+`(?:, | and ))+`\w+`) need `LLM`", text)
    assert only_llm is not None
    assert [each for each in re.findall(r"`(\w+)`", only_llm[1]) if hasattr(AsyncLLM, each)] == []


def test_names_of_other_libraries_that_are_taken() -> None:
    start = next(index for index, line in enumerate(LINES) if line.startswith("Checked against 0.3.36."))
    told = re.findall(r"`(\w+)", " ".join(LINES[start : start + 2]))
    ours = {*(LLM.generate.__kwdefaults__ or ()), "model_path", "repeat_penalty", "typical_p", "seed", "top_k"}
    assert [name for name in told if name not in ours | ANSWER_NAMES.keys() | ENGINE_NAMES.keys()] == []


def test_errors_that_are_named_exist() -> None:
    import llmcore.errors as errors

    named = {each for row in rows("| error | when |") for each in re.findall(r"`(\w+Error)`", row[0])}
    assert len(named) > 12
    assert [each for each in named if not hasattr(errors, each)] == []
