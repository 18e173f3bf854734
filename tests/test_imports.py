"""Rules between packages: which may import which, and where ctypes, clocks and native code may stand."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Flat modules of llmcore, and packages without policy: any package may import them. They import one another without a cycle.
LEAVES = {
    *(
        "batch",
        "completion",
        "config",
        "errors",
        "limits",
        "log",
        "messages",
        "sampling",
        "sequence",
        "values",
    ),
    *("machine", "protocol"),
}

# A package may import itself, the leaves, and what stands here.
LLMCORE = {
    "gguf": set(),
    "hub": set(),
    "llama": {"gguf"},
    "scheduling": {"speculation"},
    "speculation": set(),
    "grammar": {"llama"},
    "embedding": {"llama"},
    "startup": {"embedding", "gguf", "hub", "llama", "scheduling"},
    "engine": {"embedding", "grammar", "llama", "scheduling", "speculation", "startup"},
    "worker": {"engine", "scheduling"},
    "library": {"embedding", "engine", "grammar", "hub", "llama", "scheduling", "startup", "worker"},
    "tuning": {"llama", "startup"},
    "doctor": {"gguf", "llama", "startup"},
    "commands": {"doctor", "gguf", "hub", "library", "llama", "startup", "tuning"},
}

# The same for the service, whose leaf is its config.
APP = {
    "config": set(),
    "http": set(),
    "schemas": {"http"},
    "auth": {"http"},
    "metrics": {"http"},
    "service": {"auth", "http", "metrics"},
    "server": {"http", "service"},
    "answers": {"http", "metrics", "schemas", "service"},
    "routes": {"answers", "http", "metrics", "schemas", "service"},
    "application": {"auth", "http", "metrics", "routes", "service"},
    "serve": {"application", "auth", "server", "service"},
    "cluster": {"application", "auth", "http", "serve", "service"},
}

# The service sees these of llmcore, besides the leaves: an engine in another process, and model files by name.
APP_SEES = {"worker.client", "hub.model_store"}

# Pure policy: no C, no clock, no thread, no log, no process, no file.
IMPURE = {
    "asyncio",
    "ctypes",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "socket",
    "subprocess",
    "threading",
    "time",
}


def files(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if path.read_text("utf-8"))


def module_name(path: Path) -> str:
    """Dotted name from the top of the tree, `app` being the package that is installed as llmcore_app."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(path: Path) -> set[str]:
    """Full dotted names of all modules and names that a file imports, anywhere in it."""
    package = list(path.relative_to(ROOT).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def parts_of(path: Path, top: str) -> set[str]:
    """Packages and flat modules of `top` that a file imports, but for its own."""
    own = path.relative_to(ROOT / top).parts[0].removesuffix(".py")
    names = {name.split(".")[1] for name in imported(path) if name.startswith(f"{top}.")}
    return {name for name in names if name != own and not name.startswith("__")}


@pytest.mark.parametrize("path", files("llmcore"), ids=module_name)
def test_a_package_of_llmcore_imports_the_leaves_and_what_its_rule_allows(path: Path) -> None:
    own = path.relative_to(ROOT / "llmcore").parts[0].removesuffix(".py")
    if own not in ("__init__", "__main__"):
        assert parts_of(path, "llmcore") <= (LEAVES if own in LEAVES else LEAVES | LLMCORE[own])


@pytest.mark.parametrize("path", files("app"), ids=module_name)
def test_a_package_of_the_service_imports_what_its_rule_allows_and_itself_relatively(path: Path) -> None:
    own = path.relative_to(ROOT / "app").parts[0].removesuffix(".py")
    if own not in ("__init__", "__main__"):
        assert parts_of(path, "app") <= APP[own] | {"config"}
    assert not {name for name in imported(path) if name.startswith("llmcore_app")}


@pytest.mark.parametrize("path", files("app"), ids=module_name)
def test_the_service_sees_little_of_llmcore(path: Path) -> None:
    for name in imported(path):
        head, _, rest = name.partition(".")
        if head == "llmcore" and rest.partition(".")[0] not in LEAVES:
            assert rest == "__version__" or rest.startswith(tuple(APP_SEES)), name


@pytest.mark.parametrize("path", files("llmcore"), ids=module_name)
def test_llmcore_never_imports_the_service(path: Path) -> None:
    assert not {name for name in imported(path) if name.partition(".")[0] in ("app", "llmcore_app")}


def test_no_two_packages_or_leaves_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for path in files("llmcore"):
        own = path.relative_to(ROOT / "llmcore").parts[0].removesuffix(".py")
        if own not in ("__init__", "__main__"):
            graph.setdefault(own, set()).update(parts_of(path, "llmcore"))
    while graph:
        free = {name for name, needs in graph.items() if not needs & graph.keys()}
        assert free, f"a cycle among {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in free}


@pytest.mark.parametrize("path", files("llmcore/scheduling"), ids=module_name)
def test_scheduling_is_pure(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imported(path)} & IMPURE


@pytest.mark.parametrize("path", files("llmcore"), ids=module_name)
def test_only_ffi_knows_ctypes(path: Path) -> None:
    if any(name.partition(".")[0] == "ctypes" for name in imported(path)):
        assert module_name(path).startswith("llmcore.llama.ffi.")


def test_files_that_make_packages_of_folders_are_empty() -> None:
    paths = [*(ROOT / "llmcore").rglob("*/__init__.py"), *(ROOT / "app").rglob("*/__init__.py")]
    assert [path for path in paths if path.read_text("utf-8") and path.parent.parent != ROOT] == []


@pytest.mark.parametrize("module", ["llmcore", "llmcore.worker.client", "llmcore_app"])
def test_the_http_process_loads_no_native_code(module: str) -> None:
    code = f"import {module}, sys; print([name for name in sys.modules if name.startswith('llmcore.llama.ffi')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_only_the_process_that_downloads_knows_the_hubs_client() -> None:
    paths = [*files("llmcore"), *files("app")]
    knows = [module_name(path) for path in paths if any(n.startswith("huggingface_hub") for n in imported(path))]
    assert knows == ["llmcore.hub.download_worker"]
