"""The native build: what the wheel holds, that it works from any folder, and that its failures are clear."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CMAKE = Path(sys.executable).parent / "cmake"

CODE = """
import sys
sys.path[:0] = [{site!r}]
sys.path.append({dependencies!r})
from llmcore import LLM
from llmcore.llama.ffi.library import library_dir
assert str(library_dir()).startswith({site!r}), library_dir()
with LLM({model!r}, n_ctx=256) as llm:
    print(llm.generate([100, 101], max_tokens=4, temperature=0).usage.n_generated)
maps = [line.split()[-1] for line in open("/proc/self/maps") if ".so" in line]
print(sorted({{name.rsplit("/", 1)[1] for name in maps if "blas" in name or "llama" in name and {site!r} not in name}}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree, from the build folder that is there."""
    folder = tmp_path_factory.mktemp("wheel")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        folder,
        ROOT,
    ]
    subprocess.run(command, check=True, timeout=1500)
    [made] = folder.glob("*.whl")
    return made


def test_the_wheel_holds_what_it_should_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"llmcore", "llmcore_app", f"llmcore-{wheel.name.split('-')[1]}.dist-info"}
    libraries = {name.rsplit("/", 1)[1] for name in names if name.startswith("llmcore/lib/")}
    assert {"libllmcore.so", "libllama.so", "libllama-common.so", "libggml.so", "libggml-base.so"} <= libraries
    assert any("openblas" in name for name in libraries)
    assert "cpu.json" in libraries
    assert all(".so" in name for name in libraries - {"cpu.json"})
    assert not [name for name in names if name.endswith((".h", ".cmake", ".pc", ".a", ".gguf"))]
    assert "llmcore/py.typed" in names
    assert "llmcore/model_config.json" in names
    assert "llmcore_app/__init__.py" in names
    assert [name for name in names if name.endswith("LICENSE")]
    assert [name for name in names if name.endswith("NOTICE")]


def test_the_wheel_works_from_any_folder(wheel: Path, tmp_path: Path, tiny_model: Path) -> None:
    site = tmp_path / "some where"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel], check=True)
    code = CODE.format(site=str(site), dependencies=sysconfig.get_path("purelib"), model=str(tiny_model))
    # -S keeps the editable installation out of the way.
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    generated, foreign = done.stdout.splitlines()
    assert generated == "4"
    assert "libopenblas" not in foreign, "no OpenBLAS of the system"


def configure(tmp_path: Path, *options: str, source: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """CMake's first half, in a folder of its own and with an empty cache of sources."""
    command: list[str | Path] = [
        CMAKE,
        "-S",
        source,
        "-B",
        tmp_path / "build",
        "-G",
        "Ninja",
        f"-DPython_EXECUTABLE={sys.executable}",
    ]
    return subprocess.run(
        [*command, f"-DCMAKE_MAKE_PROGRAM={CMAKE.parent / 'ninja'}", *options],
        capture_output=True,
        text=True,
        env={**os.environ, "LLMCORE_CACHE_DIR": str(tmp_path / "cache"), **environ},
        timeout=250,
        check=False,
    )


def test_no_network_is_one_clear_error(tmp_path: Path) -> None:
    done = configure(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert done.returncode != 0
    assert "LLMCORE_LLAMA_CPP_DIR" in done.stderr, "what to do without a network"
    assert "Traceback" not in done.stderr


def test_a_source_with_another_hash_is_refused(tmp_path: Path) -> None:
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    with tarfile.open(fakes / "llama_cpp_python-0.3.36.tar.gz", "w:gz") as archive:
        for name, text in (
            ("PKG-INFO", "Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: 0.3.36\n"),
            ("x.py", ""),
        ):
            member = tarfile.TarInfo(f"llama_cpp_python-0.3.36/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    done = configure(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(fakes))
    assert done.returncode != 0
    assert "hash" in done.stderr.lower()
    assert not list((tmp_path / "cache").glob("llama.cpp-*/CMakeLists.txt")), "nothing of it is kept"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-DLLMCORE_LLAMA_CPP_DIR=/no/such/folder",), "/no/such/folder"),
        (("-DLLMCORE_CPU=fast",), "native or all"),
        (("-DLLMCORE_BLAS=fancy",), "scipy, system or off"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = configure(tmp_path, *options)
    assert done.returncode != 0
    assert said in " ".join(done.stderr.split())


def test_blas_that_is_asked_for_and_absent_fails_the_build(tmp_path: Path, llama_cpp: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    done = configure(tmp_path, f"-DPython_EXECUTABLE={bare}/bin/python", f"-DLLMCORE_LLAMA_CPP_DIR={llama_cpp}")
    assert done.returncode != 0
    assert "scipy-openblas32" in done.stderr


def test_make_names_what_is_missing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "CMakeLists.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "native").mkdir()
    done = subprocess.run(
        ["make", "serve", "PYTHON=no-such-python"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode != 0
    assert "install Python 3.10 or newer" in done.stderr
