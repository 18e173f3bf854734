"""README.md and docs/*.md name files and folders that exist, and link to headings that exist."""

from __future__ import annotations

import builtins
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.(?:cmake|cpp|h|map|md|py|sh|svg|tf)")
_FOLDER = re.compile(r"(?:app|benchmarks|deploy|docs|llmcore|native|tests)(?:/[\w.-]+)*/?")
_LINK = re.compile(r"\]\(([^)\s]*)\)")

_CLASS = re.compile(r"(?:llmcore\.)?([A-Z][a-z]+\w*|LLM)(?:[.(].*)?")


def tracked() -> set[str]:
    """Paths of all files of the project: those that git knows, or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a clone")
    return {path for path in listed.stdout.splitlines() if (ROOT / path).is_file()}


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    text = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).strip().lower())
    return text.replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    """A path counts from the top of the tree; a name alone, anywhere in it."""
    paths = tracked()
    names = {each.rpartition("/")[2] for each in paths}
    named = {each for each in _CODE.findall(without_blocks(path.read_text("utf-8"))) if _FILE.fullmatch(each)}
    missing = [each for each in named if (each not in paths if "/" in each else each not in names)]
    assert sorted(missing) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_folders_that_are_named_exist(path: Path) -> None:
    named = {each for each in _CODE.findall(without_blocks(path.read_text("utf-8"))) if _FOLDER.fullmatch(each)}
    folders = {each for each in named if not _FILE.fullmatch(each) and "/" in each}
    assert sorted(each for each in folders if not (ROOT / each).exists()) == []


def test_classes_that_the_architecture_names_exist() -> None:
    text = without_blocks((ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8"))
    named = {match[1] for each in _CODE.findall(text) if (match := _CLASS.fullmatch(each))}
    files = [*(ROOT / "llmcore").rglob("*.py"), *(ROOT / "app").rglob("*.py")]
    defined = {name for file in files for name in re.findall(r"^class (\w+)", file.read_text("utf-8"), re.MULTILINE)}
    assert {"LLM", "Engine"} <= named
    assert named - defined - vars(builtins).keys() == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in _LINK.findall(without_blocks(path.read_text("utf-8"))):
        name, _, fragment = link.partition("#")
        if "://" in link:
            continue
        target = path.parent / name if name else path
        if not target.is_file():
            broken.append(link)
        elif fragment:
            headings = re.findall(r"^#+ (.+)$", without_blocks(target.read_text("utf-8")), re.MULTILINE)
            if fragment not in {anchor(each) for each in headings}:
                broken.append(link)
    assert broken == []


def test_modules_in_the_map_exist() -> None:
    """The trees of packages in ARCHITECTURE.md: each folder with its own line."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")
    tree = text.partition("## Packages")[2].partition("```")[2].partition("```")[0]
    top, packages = "", set()
    for line in tree.splitlines():
        name = line.split(" ")[0] or line.strip().split(" ")[0]
        if line.startswith("  "):
            packages.add(f"{top}{name}")
        elif line:
            top = name
    of_code = {
        f"{path.parent.relative_to(ROOT)}/" for each in ("llmcore", "app") for path in (ROOT / each).glob("*/*.py")
    }
    assert packages == of_code
