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
    "errors": set(),
    "log": set(),
    "batch": set(),
    "sequence": set(),
    "prefix": set(),
    "detokenize": set(),
    "wire": set(),
    "config": {"errors"},
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
    "check": set(),
    "machine_checks": {"check", "cpufeatures", "quota", "threads"},
    "registry": {"errors"},
    "messages": {"config", "sampling", "threads"},
    "protocol.checked": {"errors", "messages", "wire"},
    "protocol.unreadable": set(),
    "protocol.outbox": {"errors", "messages", "wire"},
    "preparing.prompt_bound": {"errors"},
    "grammar.characters": set(),
    "grammar.gbnf_tree": {"grammar.characters"},
    "grammar.gbnf_parser": {"errors", "grammar.characters", "grammar.gbnf_tree"},
    "grammar.gbnf": {"grammar.characters", "grammar.gbnf_parser", "grammar.gbnf_tree"},
    "preparing.preparation": {"errors", "messages"},
    "preparing.chat_bounds": {"errors", "messages"},
    "grammar.pattern_bound": set(),
    "reference": {"errors"},
    "provenance": set(),
    "folderlock": set(),
    "transfer": set(),
    "hubchild": set(),
    "chatstream": {"errors", "log", "messages"},
    "toolschema": {"grammar.pattern_bound"},
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
    "admission": {"costmodel", "errors", "kvcache", "limits", "messages", "prefix", "refusals", "sequence"},
    "scheduler": {"admission", "batch", "costmodel", "kvcache", "limits", "sequence"},
    "inspection": {"messages", "scheduler", "sequence"},
    "passes": set(),
    "search": {"trials"},
    # what lies on disk
    "pins": {"errors", "log", "messages"},
    # native code and its handles
    "ffi": {"cpufeatures", "errors", "threads"},
    "handle": {"errors"},
    "gguf_model": {"errors", "gguf"},
    "kernels": {"config", "errors", "ffi", "log", "threads"},
    "model": {
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
    "chat": {
        *("chatstream", "handle", "errors", "ffi", "log", "messages", "model", "preparing.chat_bounds", "toolschema"),
    },
    "startup.template_trial": {"chat", "errors", "ffi", "machine.user_folders", "messages"},
    "startup.chat_template": {"chat", "errors", "log", "model", "startup.template_trial"},
    "pairs": {"errors", "model"},
    "embed": {"batch", "context", "errors", "ffi", "log", "model", "passes"},
    "pieces": {"messages", "model"},
    "gate": {"chat", "errors", "ffi"},
    "constraint": {"errors", "ffi", "grammar.gbnf", "messages", "model", "schema"},
    "contextmemory": {"context", "errors", "log"},
    "stepbench": {"batch", "context", "model"},
    "tune": {"config", "context", "costmodel", "errors", "ffi", "fingerprint", "log", "model", "stepbench"},
    "tuned_profile": {"", "config", "ffi", "fingerprint", "log", "threads", "trials", "tune"},
    "decide": {"config", "context", "costmodel", "embed", "errors", "limits", "log", "memory", "model", "tune"},
    # requests to sequences, and back to answers
    "prompts": {"chat", "errors", "limits", "log", "messages", "model", "prefix", "preparing.prompt_bound"},
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
        *("log", "model", "pins", "startup.chat_template", "threads"),
    },
    "intake": {
        *("answer", "constraint", "errors", "kvcache", "limits", "messages", "model", "pieces", "prompts", "sequence"),
        "preparing.prompt_bound",
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
        *("prompts", "protocol.checked", "refusals", "sampler", "scheduler", "sequence", "taking"),
    },
    # those who use an engine
    "encoder": {
        *("config", "decide", "embeddings", "engine", "errors", "log", "messages", "model", "parts", "prompts"),
        *("refusals", "tuned_profile"),
    },
    "pulse": set(),
    "preparing.reading": {"encoder", "messages", "preparing.preparation"},
    "inbox": {"encoder", "messages", "preparing.preparation", "protocol.unreadable"},
    "worker": {
        *("config", "encoder", "errors", "inbox", "log", "messages", "preparing.preparation", "preparing.reading"),
        *("prompts", "protocol.outbox", "protocol.unreadable", "pulse", "refusals", "wire"),
    },
    "calls": {"errors", "messages"},
    "child": {"errors", "log", "messages", "protocol.unreadable", "pulse", "wire"},
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
            "protocol.checked",
            "refusals",
            "supervisor",
            "suspects",
            "vectorcalls",
        ),
    },
    "hubclient": {"reference", "registry", "transfer"},
    "fetch": {"hubclient", "registry", "transfer"},
    "hub": {"errors", "fetch", "folderlock", "hubclient", "provenance", "registry", "transfer"},
    "repository": {"errors", "hub", "hubclient", "provenance", "reference", "registry", "transfer"},
    "chat_options": {"errors", "messages"},
    "completion": {"messages"},
    "llm": {
        *("chat_options", "completion", "config", "embeddings", "encoder", "errors", "hub", "messages", "model"),
        *("protocol.checked", "response_format", "sampling"),
    },
    # tuning: what measures, in a process of its own, and what drives it
    "trial_process": {
        *("", "config", "context", "decide", "errors", "log", "model", "stepbench", "threads", "trials", "wire"),
    },
    "trial_child": {"errors", "trials", "wire"},
    "tuning": {
        *("", "config", "decide", "errors", "ffi", "model", "search", "threads", "trial_child", "trials", "tune"),
        "tuned_profile",
    },
    "tune_report": {"trials"},
    "tune_plot": {"errors", "trials", "tune_report"},
    # the command line
    "cli": {"", "config", "errors", "ffi"},
    "chat_command": {"config", "errors", "llm", "log"},
    "library_probe": {
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
    "rpc_command": {"errors", "ffi", "threads"},
    "pull_command": {"errors", "hub", "hubclient", "provenance", "reference", "registry", "repository"},
    "tune_command": {
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

APP_MAY_IMPORT = {
    *(
        "client",
        "config",
        "errors",
        "hub",
        "log",
        "messages",
        "preparing.chat_bounds",
        "quota",
        "sampling",
        "threads",
        "",
    ),
}


def imported(path: Path, package: str) -> set[str]:
    """Modules of `package` that a file imports, anywhere in it; "" is the package itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            is_package = (ROOT / module.replace(".", "/")).is_dir()
            names = [f"{module}.{alias.name}" for alias in node.names] if is_package else [module]
        for name in names:
            head, _, rest = name.partition(".")
            if head == package:
                found.add(_module(package, rest.split(".")))
    return found


def _module(package: str, names: list[str]) -> str:
    """The longest beginning of dotted names that is a module; "" is the package itself."""
    for n in range(len(names), 0, -1):
        if (ROOT / package / "/".join(names[:n])).with_suffix(".py").exists():
            return ".".join(names[:n])
    return ""


def modules() -> list[Path]:
    """Those of llmcore, but for the empty files that make packages of folders."""
    return sorted(path for path in (ROOT / "llmcore").rglob("*.py") if path.read_text("utf-8"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "llmcore").with_suffix("").parts
    return "" if parts == ("__init__",) else ".".join(parts)


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_a_module_imports_only_what_its_layer_allows(path: Path) -> None:
    name = module_name(path)
    assert name in MAY_IMPORT, f"llmcore/{path.name} has no place in the layers yet"
    assert imported(path, "llmcore") <= MAY_IMPORT[name]


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_llmcore_never_imports_the_app(path: Path) -> None:
    assert not imported(path, "app")
    assert not imported(path, "llmcore_app")


@pytest.mark.parametrize("path", sorted((ROOT / "app").rglob("*.py")), ids=lambda path: path.stem)
def test_the_app_sees_public_names_only_and_imports_itself_relatively(path: Path) -> None:
    assert imported(path, "llmcore") <= APP_MAY_IMPORT
    assert not imported(path, "app")
    assert not imported(path, "llmcore_app")


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_only_ffi_knows_ctypes(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    uses = any(
        (isinstance(node, ast.Import) and any(alias.name.startswith("ctypes") for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ctypes"))
        for node in ast.walk(tree)
    )
    assert uses == (path.stem == "ffi")


@pytest.mark.parametrize("module", ["llmcore", "llmcore.client", "llmcore_app"])
def test_the_http_process_loads_no_native_code(module: str) -> None:
    code = f"import {module}, sys; print([name for name in sys.modules if name in ('llmcore.ffi', 'ctypes')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "llmcore.ffi" not in shown


def test_only_the_child_that_downloads_knows_the_hubs_client() -> None:
    paths = [*(ROOT / "llmcore").rglob("*.py"), *(ROOT / "app").rglob("*.py")]
    assert [path.stem for path in paths if "import huggingface_hub" in path.read_text("utf-8")] == []
    assert [path.stem for path in paths if "from huggingface_hub" in path.read_text("utf-8")] == ["hubchild"]
