"""Who may import whom: the layers of docs/ARCHITECTURE.md, read from the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each module of llmcore, and the modules of llmcore that it may import. A name not listed here fails the test, so that a
# new module has to find its place first.
MAY_IMPORT: dict[str, set[str]] = {
    # leaves: nothing of ours, but errors
    "machine": {"errors"},
    "llama": {"errors"},
    "errors": {"machine"},
    "log": {"machine"},
    "batch": set(),
    "sequence": set(),
    "prefix": set(),
    "detokenize": set(),
    "wire": set(),
    "config": {"machine", "errors"},
    "sampling": {"errors"},
    "tensor_types": set(),
    "gguf_reader": {"errors"},
    "gguf": {"errors", "gguf_reader", "tensor_types"},
    "cgroup": set(),
    "cpufeatures": {"errors"},
    "topology": set(),
    "quota": {"cgroup"},
    "threads": {"quota", "topology"},
    "memory": {"cgroup"},
    "check": {"machine"},
    "machine_checks": {"check", "cpufeatures", "quota", "threads"},
    "registry": {"machine", "errors"},
    "messages": {"config", "sampling", "threads"},
    "reference": {"errors"},
    "provenance": set(),
    "folderlock": set(),
    "transfer": set(),
    "hubchild": set(),
    "chatstream": {"errors", "log", "messages"},
    "toolschema": set(),
    "response_format": {"errors", "messages"},
    "costmodel": set(),
    "rpc": {"errors"},
    "limits": set(),
    "schema": {"errors"},
    "fingerprint": set(),
    "trials": {"config"},
    # policy: no native code
    "hosttier": {"prefix"},
    "cells": set(),
    "kvcache": {"cells", "hosttier", "prefix", "sequence"},
    "refusals": {"errors", "messages"},
    "scheduling.turns": {"costmodel", "sequence"},
    "scheduling.followers": {"kvcache", "sequence"},
    "scheduling.shares": {"sequence"},
    "admission": {
        *("costmodel", "errors", "kvcache", "limits", "messages", "prefix", "refusals", "sequence"),
        *("scheduling.shares", "scheduling.turns"),
    },
    "scheduler": {
        *("admission", "batch", "costmodel", "kvcache", "limits"),
        *("scheduling.followers", "scheduling.shares", "scheduling.turns"),
        "sequence",
    },
    "inspection": {"messages", "scheduler", "sequence"},
    "passes": set(),
    "search": {"trials"},
    # what lies on disk
    "pins": {"errors", "log", "messages"},
    # native code and its handles
    "ffi": {"llama", "cpufeatures", "errors", "threads"},
    "handle": {"errors"},
    "gguf_model": {"errors", "gguf"},
    "kernels": {"config", "errors", "ffi", "log", "threads"},
    "model": {
        "machine",
        "handle",
        "errors",
        "ffi",
        "gguf",
        "gguf_model",
        "kernels",
        "log",
        "memory",
        "messages",
        "rpc",
        "threads",
    },
    "contextneed": {"ffi"},
    "context": {"handle", "batch", "contextneed", "errors", "ffi", "log", "memory", "model"},
    "sampler": {"handle", "context", "errors", "ffi", "model", "sampling"},
    "chat": {"chatstream", "handle", "errors", "ffi", "log", "messages", "model", "toolschema"},
    "pairs": {"errors", "model"},
    "embed": {"batch", "context", "errors", "ffi", "log", "model", "passes"},
    "pieces": {"messages", "model"},
    "gate": {"chat", "errors", "ffi"},
    "constraint": {"errors", "ffi", "messages", "model", "schema"},
    "contextmemory": {"context", "errors", "log"},
    "stepbench": {"batch", "context", "model"},
    "tune": {"machine", "config", "context", "costmodel", "errors", "ffi", "fingerprint", "log", "model", "stepbench"},
    "tuned_profile": {"machine", "", "config", "ffi", "fingerprint", "log", "threads", "trials", "tune"},
    "decide": {"config", "context", "costmodel", "embed", "errors", "limits", "log", "memory", "model", "tune"},
    # requests to sequences, and back to answers
    "prompts": {"chat", "errors", "log", "messages", "model", "prefix"},
    "answer": {
        "chat",
        "chatstream",
        "detokenize",
        "errors",
        "ffi",
        "gate",
        "messages",
        "model",
        "prompts",
        "sampler",
        "sequence",
    },
    "pinning": {"errors", "log", "messages", "pins", "prompts", "scheduler", "sequence"},
    "embeddings": {"context", "embed", "errors", "limits", "model", "pairs", "passes"},
    "counters": {"embeddings", "messages", "scheduler"},
    "parts": {
        *("chat", "config", "context", "costmodel", "decide", "embed", "errors", "fingerprint", "hosttier", "limits"),
        *("log", "model", "pins", "threads"),
    },
    "intake": {
        *("answer", "constraint", "errors", "kvcache", "limits", "messages", "model", "pieces", "prompts", "sequence"),
    },
    "taking": {"answer", "errors", "gate", "messages", "pieces", "sampler", "sequence"},
    "engine": {
        *("answer", "batch", "config", "constraint", "context", "contextmemory", "costmodel", "counters", "embeddings"),
        *(
            "errors",
            "inspection",
            "intake",
            "kvcache",
            "log",
            "messages",
            "model",
            "parts",
            "pieces",
            "pinning",
            "pins",
        ),
        *("prompts", "refusals", "sampler", "scheduler", "sequence", "taking"),
    },
    # those who use an engine
    "encoder": {
        *("config", "decide", "embeddings", "engine", "errors", "log", "messages", "model", "parts", "refusals"),
        "tuned_profile",
    },
    "pulse": set(),
    "inbox": {"encoder", "messages"},
    "worker": {"config", "encoder", "errors", "inbox", "log", "messages", "pulse", "refusals", "wire"},
    "calls": {"errors", "messages"},
    "child": {"errors", "log", "messages", "pulse", "wire"},
    "generation": {"errors", "messages"},
    "suspects": {"errors", "messages"},
    "ledger": {"config", "errors", "generation", "log", "messages", "suspects"},
    "supervisor": {"child", "config", "log", "messages"},
    "vectorcalls": {"calls", "errors", "ledger", "messages"},
    "client": {
        *(
            "calls",
            "config",
            "errors",
            "generation",
            "ledger",
            "log",
            "messages",
            "refusals",
            "supervisor",
            "suspects",
            "vectorcalls",
        ),
    },
    "hubclient": {"machine", "reference", "registry", "transfer"},
    "fetch": {"hubclient", "registry", "transfer"},
    "hub": {"machine", "errors", "fetch", "folderlock", "hubclient", "provenance", "registry", "transfer"},
    "repository": {"errors", "machine", "hub", "hubclient", "provenance", "reference", "registry", "transfer"},
    "chat_options": {"errors", "messages"},
    "completion": {"messages"},
    "llm": {
        *("chat_options", "completion", "config", "embeddings", "encoder", "errors", "hub", "messages", "model"),
        *("response_format", "sampling"),
    },
    # tuning: what measures, in a process of its own, and what drives it
    "trial_process": {
        *("", "config", "context", "decide", "errors", "log", "model", "stepbench", "threads", "trials", "wire"),
    },
    "trial_child": {"config", "errors", "trials", "wire"},
    "tuning": {
        *("", "config", "decide", "errors", "ffi", "model", "search", "threads", "trial_child", "trials", "tune"),
        "tuned_profile",
    },
    "tune_report": {"trials"},
    "tune_plot": {"errors", "trials", "tune_report"},
    # the command line
    "cli": {"", "config", "errors", "ffi"},
    "chat_command": {"machine", "config", "errors", "llm", "log"},
    "library_probe": {
        "llama",
        "machine",
        "config",
        "context",
        "contextneed",
        "decide",
        "errors",
        "ffi",
        "gguf",
        "gguf_model",
        "kernels",
        "tune",
    },
    "install_checks": {"check", "config", "errors", "gguf", "gguf_model", "library_probe", "memory"},
    "doctor_command": {
        *("check", "config", "errors", "ffi", "hub", "install_checks", "library_probe", "machine_checks", "threads"),
    },
    "rpc_command": {"llama", "errors", "ffi", "threads"},
    "pull_command": {"errors", "hub", "hubclient", "provenance", "reference", "registry", "repository"},
    "tune_command": {
        "machine",
        *("", "config", "errors", "fingerprint", "hub", "log", "model", "search", "trial_child", "trials"),
        *("tune_plot", "tune_report", "tuned_profile", "tuning"),
    },
    "": {
        "batch",
        "chat",
        "client",
        "completion",
        "config",
        "context",
        "engine",
        "errors",
        "llm",
        "model",
        "sampler",
        "sampling",
    },
}

APP_MAY_IMPORT = {"client", "config", "errors", "hub", "log", "machine", "messages", "quota", "sampling", "threads", ""}


def imported(path: Path, package: str) -> set[str]:
    """Modules of `package` that a file imports, anywhere in it; "" is the package itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == package else [module]
        for name in names:
            head, _, rest = name.partition(".")
            if head == package:
                found.add(module_of(package, rest.split(".")))
    return found


def module_of(package: str, names: list[str]) -> str:
    """The module of `package` that dotted names lead to: `folder.module` in an inner package, or only `folder` where that is
    one place of MAY_IMPORT; "" is the package itself."""
    if names[0] in MAY_IMPORT and (ROOT / package / names[0] / "__init__.py").exists():
        return names[0]
    for n in (1, 2):
        if (ROOT / package).joinpath(*names[:n]).with_suffix(".py").exists():
            return ".".join(names[:n])
    return ""


MODULES = [*(ROOT / "llmcore").glob("*.py"), *(ROOT / "llmcore").glob("*/[!_]*.py")]


@pytest.mark.parametrize("path", sorted(MODULES), ids=lambda path: path.stem)
def test_a_module_imports_only_what_its_layer_allows(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT / "llmcore").with_suffix("").parts).removesuffix("__init__")
    folder = name.partition(".")[0]
    place = folder if folder in MAY_IMPORT else name
    assert place in MAY_IMPORT, f"llmcore/{path.name} has no place in the layers yet"
    assert imported(path, "llmcore") <= MAY_IMPORT[place] | {folder}


@pytest.mark.parametrize("path", sorted(MODULES), ids=lambda path: path.stem)
def test_llmcore_never_imports_the_app(path: Path) -> None:
    assert not imported(path, "app")
    assert not imported(path, "llmcore_app")


@pytest.mark.parametrize("path", sorted((ROOT / "app").rglob("*.py")), ids=lambda path: path.stem)
def test_the_app_sees_public_names_only_and_imports_itself_relatively(path: Path) -> None:
    assert imported(path, "llmcore") <= APP_MAY_IMPORT
    assert not imported(path, "app")
    assert not imported(path, "llmcore_app")


@pytest.mark.parametrize("path", sorted(MODULES), ids=lambda path: path.stem)
def test_only_the_binding_knows_ctypes(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    uses = any(
        (isinstance(node, ast.Import) and any(alias.name.startswith("ctypes") for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ctypes"))
        for node in ast.walk(tree)
    )
    assert uses == (path.stem in ("ffi", "origin"))


@pytest.mark.parametrize("module", ["llmcore", "llmcore.client", "llmcore_app"])
def test_the_http_process_loads_no_native_code(module: str) -> None:
    code = f"import {module}, sys; print([name for name in sys.modules if name in ('llmcore.ffi', 'ctypes')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "llmcore.ffi" not in shown


def test_only_the_child_that_downloads_knows_the_hubs_client() -> None:
    paths = [*(ROOT / "llmcore").glob("*.py"), *(ROOT / "app").rglob("*.py")]
    assert [path.stem for path in paths if "import huggingface_hub" in path.read_text("utf-8")] == []
    assert [path.stem for path in paths if "from huggingface_hub" in path.read_text("utf-8")] == ["hubchild"]
