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
    "errors": {"machine.os_text"},
    "log": {"machine.os_text"},
    "batch": set(),
    "sequence": set(),
    "prefix": set(),
    "detokenize": set(),
    "wire": set(),
    "config": {"errors", "machine.os_text"},
    "sampling": {"errors", "protocol.plain"},
    "tensor_types": set(),
    "gguf_reader": {"errors"},
    "gguf": {"errors", "gguf_reader", "model_files.signatures", "tensor_types"},
    "cgroup": set(),
    "cpufeatures": {"errors"},
    "topology": set(),
    "quota": {"cgroup"},
    "threads": {"quota", "topology"},
    "memory": {"cgroup"},
    "check": {"machine.os_text"},
    "machine_checks": {"check", "cpufeatures", "quota", "threads"},
    "registry": {"errors", "machine.os_text", "machine.user_folders"},
    "messages": {"config", "sampling", "threads"},
    "protocol.checked": {"errors", "messages", "protocol.plain", "wire"},
    "protocol.unreadable": set(),
    "protocol.outbox": {"errors", "messages", "wire"},
    "preparing.prompt_bound": {"errors"},
    "grammar.characters": set(),
    "grammar.gbnf_tree": {"grammar.characters"},
    "grammar.gbnf_parser": {"errors", "grammar.characters", "grammar.gbnf_tree"},
    "grammar.gbnf": {"grammar.characters", "grammar.gbnf_parser", "grammar.gbnf_tree"},
    "preparing.preparation": {"errors", "messages"},
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
    "hosttier": {"prefix"},
    "cells": set(),
    "kvcache": {"cells", "hosttier", "prefix", "sequence"},
    "refusals": {"errors", "messages"},
    "admission": {
        "costmodel",
        "errors",
        "kvcache",
        "limits",
        "messages",
        "prefix",
        "refusals",
        "scheduling.shares",
        "scheduling.turns",
        "sequence",
    },
    "scheduler": {
        "admission",
        "batch",
        "costmodel",
        "kvcache",
        "limits",
        "scheduling.followers",
        "scheduling.shares",
        "scheduling.step_budget",
        "scheduling.turns",
        "sequence",
    },
    "inspection": {"messages", "scheduler", "sequence"},
    "passes": set(),
    "pins": {"errors", "log", "messages"},
    "ffi": {"cpufeatures", "errors", "llama.aside", "llama.origin", "threads"},
    "handle": {"errors", "machine.process"},
    "gguf_model": {"errors", "gguf", "model_files.kinds", "model_files.vocabulary"},
    "kernels": {"config", "errors", "ffi", "log", "threads"},
    "model": {
        "errors",
        "ffi",
        "gguf",
        "gguf_model",
        "handle",
        "kernels",
        "llama.aside",
        "llama.attention_shape",
        "log",
        "machine.os_text",
        "machine.process",
        "memory",
        "messages",
        "model_files.kinds",
        "model_files.vocabulary",
        "rpc",
        "threads",
    },
    "contextneed": {"errors", "ffi", "llama.aside"},
    "context": {
        "batch",
        "contextneed",
        "errors",
        "ffi",
        "handle",
        "llama.aside",
        "llama.attention_shape",
        "log",
        "machine.process",
        "memory",
        "model",
    },
    "sampler": {"context", "errors", "ffi", "handle", "model", "sampling"},
    "chat": {
        "chatstream",
        "errors",
        "ffi",
        "handle",
        "log",
        "messages",
        "model",
        "preparing.chat_bounds",
        "toolschema",
    },
    "pairs": {"errors", "model"},
    "embed": {"batch", "context", "errors", "ffi", "log", "model", "passes"},
    "pieces": {"messages", "model"},
    "gate": {"chat", "errors", "ffi"},
    "constraint": {"errors", "ffi", "grammar.gbnf", "handle", "messages", "model", "schema"},
    "contextmemory": {"context", "errors", "log"},
    "stepbench": {"batch", "context", "model"},
    "tune": {
        "config",
        "context",
        "costmodel",
        "errors",
        "ffi",
        "fingerprint",
        "folderlock",
        "llama.attention_shape",
        "log",
        "machine.user_folders",
        "model",
        "startup.check_record",
        "stepbench",
    },
    "tuned_profile": {
        "config",
        "ffi",
        "fingerprint",
        "log",
        "machine.os_text",
        "startup.trial_result",
        "threads",
        "tune",
    },
    "decide": {
        "config",
        "context",
        "costmodel",
        "embed",
        "errors",
        "limits",
        "log",
        "memory",
        "model",
        "startup.attention_choice",
        "tune",
    },
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
        "chat",
        "config",
        "context",
        "costmodel",
        "decide",
        "embed",
        "errors",
        "fingerprint",
        "hosttier",
        "limits",
        "log",
        "model",
        "pins",
        "startup.chat_template",
        "threads",
    },
    "intake": {
        "answer",
        "constraint",
        "kvcache",
        "limits",
        "messages",
        "model",
        "pieces",
        "preparing.prompt_bound",
        "prompts",
        "sequence",
    },
    "taking": {"answer", "errors", "gate", "messages", "pieces", "sampler", "sequence"},
    "engine": {
        "answer",
        "batch",
        "config",
        "constraint",
        "context",
        "contextmemory",
        "costmodel",
        "counters",
        "embeddings",
        "errors",
        "inspection",
        "intake",
        "kvcache",
        "log",
        "machine.process",
        "messages",
        "model",
        "parts",
        "pieces",
        "pinning",
        "pins",
        "prompts",
        "protocol.checked",
        "refusals",
        "sampler",
        "scheduler",
        "sequence",
        "taking",
    },
    "encoder": {
        "config",
        "decide",
        "embeddings",
        "engine",
        "errors",
        "log",
        "messages",
        "model",
        "parts",
        "prompts",
        "refusals",
        "tuned_profile",
    },
    "pulse": set(),
    "preparing.reading": {"encoder", "messages", "preparing.preparation"},
    "inbox": {"encoder", "messages", "preparing.preparation", "protocol.unreadable"},
    "worker": {
        "config",
        "encoder",
        "errors",
        "inbox",
        "log",
        "machine.os_text",
        "messages",
        "preparing.preparation",
        "preparing.reading",
        "prompts",
        "protocol.outbox",
        "protocol.unreadable",
        "pulse",
        "refusals",
        "wire",
    },
    "calls": {"errors", "messages"},
    "child": {"errors", "log", "machine.process", "messages", "protocol.unreadable", "pulse", "wire"},
    "generation": {"errors", "messages"},
    "suspects": {"errors", "messages"},
    "ledger": {"config", "errors", "generation", "log", "messages", "suspects"},
    "supervisor": {"child", "config", "log", "messages"},
    "vectorcalls": {"calls", "errors", "ledger", "messages"},
    "client": {
        "calls",
        "config",
        "errors",
        "generation",
        "ledger",
        "log",
        "machine.process",
        "messages",
        "protocol.checked",
        "refusals",
        "supervisor",
        "suspects",
        "vectorcalls",
    },
    "hubclient": {"machine.user_folders", "reference", "registry", "transfer"},
    "fetch": {"hubclient", "registry", "transfer"},
    "hub": {"errors", "fetch", "folderlock", "hubclient", "machine.user_folders", "provenance", "registry", "transfer"},
    "repository": {"errors", "hub", "hubclient", "machine.os_text", "provenance", "reference", "registry", "transfer"},
    "chat_options": {"errors", "messages"},
    "completion": {"messages"},
    "llm": {
        "chat_options",
        "completion",
        "config",
        "embeddings",
        "encoder",
        "errors",
        "hub",
        "machine.process",
        "messages",
        "model",
        "protocol.checked",
        "response_format",
        "sampling",
    },
    "cli": {"", "config", "errors", "ffi"},
    "chat_command": {"config", "errors", "llm", "log", "machine.os_text"},
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
        "llama.attention_shape",
        "llama.origin",
        "machine.os_text",
        "tune",
    },
    "install_checks": {"check", "config", "errors", "gguf", "gguf_model", "library_probe", "memory"},
    "doctor_command": {
        "check",
        "config",
        "errors",
        "ffi",
        "hub",
        "install_checks",
        "library_probe",
        "machine_checks",
        "threads",
    },
    "rpc_command": {"errors", "ffi", "llama.origin", "threads"},
    "pull_command": {"errors", "hub", "hubclient", "provenance", "reference", "registry", "repository"},
    "tune_command": {
        "config",
        "errors",
        "fingerprint",
        "hub",
        "log",
        "machine.os_text",
        "model",
        "startup.trial_result",
        "tuned_profile",
        "tuning.grid",
        "tuning.plot",
        "tuning.report",
        "tuning.runner",
        "tuning.trial",
        "tuning.trial_process",
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
    "grammar.pattern_bound": set(),
    "llama.aside": set(),
    "llama.attention_shape": {"errors", "gguf", "tensor_types"},
    "llama.origin": {"errors"},
    "llama.quantization": {"errors", "ffi", "gguf", "llama.aside", "machine.process"},
    "machine.os_text": set(),
    "machine.process": {"errors"},
    "machine.user_folders": {"errors"},
    "model_files.kinds": {"errors", "gguf"},
    "model_files.signatures": set(),
    "model_files.vocabulary": {"errors", "gguf", "model_files.kinds"},
    "preparing.chat_bounds": {"errors", "messages"},
    "protocol.plain": set(),
    "scheduling.followers": {"kvcache", "sequence"},
    "scheduling.shares": {"sequence"},
    "scheduling.step_budget": {"costmodel", "kvcache", "limits", "sequence"},
    "scheduling.turns": {"costmodel", "sequence"},
    "startup.attention_choice": {"config", "context", "errors", "log", "model", "startup.self_check", "tune"},
    "startup.chat_template": {"chat", "errors", "log", "model", "startup.template_trial"},
    "startup.check_record": set(),
    "startup.self_check": {"batch", "context", "errors", "kernels", "log", "model", "startup.check_record"},
    "startup.template_trial": {"chat", "errors", "ffi", "machine.user_folders", "messages"},
    "startup.trial_result": set(),
    "tuning.grid": {"startup.trial_result"},
    "tuning.plot": {"errors", "startup.trial_result", "tuning.report"},
    "tuning.report": {"startup.trial_result"},
    "tuning.runner": {
        "config",
        "decide",
        "errors",
        "model",
        "startup.trial_result",
        "threads",
        "tune",
        "tuned_profile",
        "tuning.grid",
        "tuning.trial",
        "tuning.trial_process",
    },
    "tuning.trial": {"config", "startup.trial_result"},
    "tuning.trial_child": {
        "config",
        "context",
        "decide",
        "errors",
        "log",
        "model",
        "startup.trial_result",
        "stepbench",
        "threads",
        "tuning.trial",
        "wire",
    },
    "tuning.trial_process": {"config", "errors", "startup.trial_result", "tuning.trial", "wire"},
}

APP_MAY_IMPORT = {
    "machine.os_text",
    "preparing.chat_bounds",
    "client",
    "config",
    "errors",
    "hub",
    "log",
    "messages",
    "quota",
    "sampling",
    "threads",
    "",
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
    assert uses == (path.stem in ("ffi", "origin"))


@pytest.mark.parametrize("module", ["llmcore", "llmcore.worker.client", "llmcore_app"])
def test_the_http_process_loads_no_native_code(module: str) -> None:
    code = f"import {module}, sys; print([name for name in sys.modules if name in ('llmcore.llama.ffi', 'ctypes')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "llmcore.llama.ffi" not in shown


def test_only_the_child_that_downloads_knows_the_hubs_client() -> None:
    paths = [*(ROOT / "llmcore").rglob("*.py"), *(ROOT / "app").rglob("*.py")]
    assert [path.stem for path in paths if "import huggingface_hub" in path.read_text("utf-8")] == []
    assert [path.stem for path in paths if "from huggingface_hub" in path.read_text("utf-8")] == ["hubchild"]
