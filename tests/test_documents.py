"""README.md, docs/*.md and native/kernels/README.md name files, folders and classes that exist, and link to headings that exist."""

from __future__ import annotations

import builtins
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KERNELS = ROOT / "native" / "kernels"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), KERNELS / "README.md"]

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))

_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.(?:cmake|cpp|h|map|md|py|sh|svg|tf)")
_FOLDER = re.compile(r"(?:app|benchmarks|deploy|docs|llmcore|native|tests)(?:/[\w.-]+)*/?")
_LINK = re.compile(r"\]\(([^)\s]*)\)")

# Files that list a client's packages.
_PACKAGES = ("requirements.txt", "package.json")

_CALL = re.compile(r"(?:[\w.]+[.:])?(\w+)\([\w, ]*\)")
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


@each_document
def test_files_that_are_named_exist(path: Path) -> None:
    """A path counts from the top of the tree or from the document's folder; a name alone, anywhere in the tree."""
    paths = tracked()
    known = paths | {each.rpartition("/")[2] for each in paths}
    folder = path.parent.relative_to(ROOT)
    named = {each for each in _CODE.findall(without_blocks(path.read_text("utf-8"))) if _FILE.fullmatch(each)}
    assert sorted(each for each in named - known if str(folder / each) not in paths) == []


@each_document
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


@each_document
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


@pytest.mark.parametrize("path", [ROOT / "docs" / "ARCHITECTURE.md", KERNELS / "README.md"], ids=lambda path: path.name)
def test_functions_that_are_named_exist(path: Path) -> None:
    named = {match[1] for each in _CODE.findall(path.read_text("utf-8")) if (match := _CALL.fullmatch(each))}
    code = "\n".join(
        (ROOT / each).read_text("utf-8") for each in tracked() if each.endswith((".py", ".h", ".cpp", ".map"))
    )
    assert sorted(name for name in named if not re.search(rf"\b{name}\b", code)) == []


def test_every_client_is_documented() -> None:
    text = (ROOT / "docs" / "CLIENTS.md").read_text("utf-8")
    programs = {path for path in tracked() if re.fullmatch(r"tests/clients/\w+/\w+\.(?:py|mjs)", path)}
    folders = {path.parent.name for path in (ROOT / "tests" / "clients").glob("*/*") if path.name in _PACKAGES}
    assert sorted(path for path in programs if f"`{path}`" not in text) == []
    assert folders == {path.split("/")[2] for path in programs}, "each environment has a program"
    rows = re.findall(r"^\| \[([^\]]+)\]\(#", text, re.MULTILINE)
    assert rows == re.findall(r"^## (?!What holds)(.+)$", text, re.MULTILINE), "each row of the table has a section"


def stems(folder: Path) -> set[str]:
    """Names of a folder's source files, without their endings."""
    return {
        path.stem
        for path in folder.iterdir()
        if path.suffix in (".py", ".cpp", ".h", ".cmake") and not path.stem.startswith("__")
    }


def package_map() -> dict[str, set[str]]:
    """The tree of packages in ARCHITECTURE.md: for each folder, the names in the lines below its own."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")
    tree = text.partition("## Packages")[2].partition("```")[2].partition("```")[0]
    found: dict[str, set[str]] = {}
    above: list[str] = []
    for line in tree.splitlines():
        words = line.split()
        if words and words[0].endswith("/"):
            above = [*above[: (len(line) - len(line.lstrip())) // 2], words[0]]
            found["".join(above).rstrip("/")] = set()
        elif words:
            found["".join(above).rstrip("/")] |= set(words) - {"·"}
    return found


def test_the_map_names_every_package_and_every_file_in_it() -> None:
    found = package_map()
    packages = {"llmcore", "app"} | {
        str(path.parent.relative_to(ROOT))
        for each in ("llmcore", "app")
        for path in (ROOT / each).rglob("*/__init__.py")
    }
    native = {f"native/{path.name}" for path in (ROOT / "native").iterdir() if path.is_dir()}
    assert packages | native <= found.keys()
    assert {each: found[each] for each in packages | native - {"native/kernels"}} == {
        each: stems(ROOT / each) for each in packages | native - {"native/kernels"}
    }
    assert [each for each in found if not (ROOT / each).is_dir()] == []


def test_the_kernels_map_names_every_folder_and_files_that_exist() -> None:
    text = (KERNELS / "README.md").read_text("utf-8")
    table = text.partition("| folder |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)/`", table, re.MULTILINE)) == {
        each.name for each in KERNELS.iterdir() if each.is_dir()
    }
    names = {path.name for path in KERNELS.rglob("*.*")} | {"llmcore.h", "llama.cpp"}
    in_blocks = "".join(re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE))
    assert set(re.findall(r"\b\w+\.(?:h|cpp)\b", in_blocks)) - names == set()
