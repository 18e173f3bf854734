"""Checks of the installation and the configuration."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.doctor.install_checks import check_blas, check_library, check_memory, check_model, check_port
from llmcore.doctor.library_probe import Finding, Need
from tests.machines import proc, v2, write

MIB = 2**20
BUILD = {"llama_cpp": "1", "llama_cpp_commit": "abc", "blas": {"built": True, "source": "scipy"}, "openblas_config": ""}
NEED = Need(n_ctx=512, model_bytes=100 * MIB, context_bytes=20 * MIB, compute_bytes=30 * MIB, least_bytes=130 * MIB)


def test_the_library() -> None:
    check = check_library(Finding(build=BUILD, backends=[{"name": "CPU"}], n_abi=7))
    assert (check.status, check.found) == ("ok", "llama.cpp 1 (abc), backends CPU; 7 sizes and offsets agree")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("abi_mismatch", "of different versions"),
        ("native_library", "build llmcore again"),
        ("cpu_unsupported", "see cpu"),
    ],
)
def test_a_library_that_cannot_be_used(code: str, advice: str) -> None:
    check = check_library(Finding(error_code=code, error="why"))
    assert (check.status, check.found) == ("fail", "why")
    assert advice in check.advice


@pytest.mark.parametrize(
    ("built", "wanted", "status", "said"),
    [
        (True, False, "ok", "built in (scipy), off"),
        (True, True, "warn", "on (scipy)"),
        (False, False, "ok", "not built in"),
        (False, True, "fail", "asked for, and not built in"),
    ],
)
def test_blas(built: bool, wanted: bool, status: str, said: str) -> None:
    finding = Finding(build={**BUILD, "blas": {"built": built, "source": "scipy" if built else ""}})
    check = check_blas(finding, wanted=wanted)
    assert check.status == status
    assert said in check.found


def test_blas_of_a_library_that_does_not_load() -> None:
    assert check_blas(Finding(error_code="native_library", error="why"), wanted=False).status == "ok"
    assert check_blas(Finding(error_code="native_library", error="why"), wanted=True).status == "warn"


def test_a_model(tiny_model: Path) -> None:
    check = check_model(EngineConfig(model_path=str(tiny_model)))
    assert check.status == "ok"
    assert "MiB of weights" in check.found


def test_models_that_cannot_be_served(tmp_path: Path, tiny_model: Path) -> None:
    assert "llmcore pull" in check_model(EngineConfig()).advice
    assert check_model(EngineConfig(model_path="/no/such.gguf")).status == "fail"
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_model.read_bytes()[:-4096])
    check = check_model(EngineConfig(model_path=str(cut)))
    assert check.status == "fail"
    assert str(cut) in check.found


@pytest.mark.parametrize(("limit_mib", "status"), [(160, "ok"), (140, "warn"), (120, "fail")])
def test_memory_against_the_control_groups_limit(tmp_path: Path, limit_mib: int, status: str) -> None:
    write(tmp_path, "proc/meminfo", f"MemAvailable: {1000 * 1024} kB")
    proc(tmp_path, "0::/\n", v2())
    write(tmp_path, "sys/fs/cgroup/memory.max", str(limit_mib * MIB))
    check = check_memory(Finding(build=BUILD, need=NEED), tmp_path)
    assert check.status == status
    assert check.found.startswith(
        "150 MiB needed (100 MiB weights, 20 MiB KV cells for 512 tokens, 30 MiB compute buffers), "
        f"{limit_mib} MiB available (control group's limit {limit_mib} MiB)"
    )
    assert ("130 MiB, which the service falls back on" in check.found) == (status == "warn")


def test_memory_that_cannot_be_reckoned(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", "MemAvailable: 2048 kB")
    check = check_memory(Finding(build=BUILD, need_error="odd model"), tmp_path)
    assert check.status == "warn"
    assert "2 MiB available" in check.found
    assert "odd model" in check.found


def test_a_port() -> None:
    assert check_port("127.0.0.1", 0).status == "ok"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check = check_port("127.0.0.1", port, name="admin port")
        assert (check.name, check.status) == ("admin port", "fail")
        assert "Address already in use" in check.found
    assert check_port("127.0.0.1", port).status == "ok"
    assert check_port("no such host.invalid", 80).status == "fail"


def test_files_that_are_loaded_are_told() -> None:
    finding = Finding(build=BUILD, folder="/lib", files=["libllama.so"], other_files=["/other/libllama.so"])
    check = check_library(finding)
    assert check.status == "ok"
    assert check.found.endswith("; loaded from /lib: libllama.so; also loaded, and not used: /other/libllama.so")


def test_another_llama_cpp_is_no_reason_to_build_again() -> None:
    check = check_library(Finding(error_code="native_library_foreign", error="/other/libllama.so"))
    assert (check.status, check.found) == ("fail", "/other/libllama.so")
    assert "build" not in check.advice
