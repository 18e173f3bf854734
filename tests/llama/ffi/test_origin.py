"""Another llama.cpp in the process: harmless, or named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmcore.errors import ForeignLibraryError
from llmcore.llama.ffi.arrays import function_address
from llmcore.llama.ffi.library import LIBRARY_NAME, library_dir, load_library
from llmcore.llama.ffi.origin import check_functions, check_global_scope, mapped_libraries
from tests.commands.test_cli import llmcore

SOURCE = """
#include <stdlib.h>
void * ggml_init(void * params) { abort(); }
void ggml_abort(const char * file, int line, const char * text, ...) { abort(); }
int llama_decode(void * context, void * batch) { abort(); }
"""
# Program that has loaded another llama.cpp before.
PROGRAM = """
import ctypes, sys
_, mode, library, model = sys.argv
if mode != "none":
    ctypes.CDLL(library, ctypes.RTLD_GLOBAL if mode == "global" else ctypes.RTLD_LOCAL)
from llmcore import LLM, errors
try:
    with LLM(model, n_ctx=256, flash_attn="off", cache_type_k="f16", cache_type_v="f16") as llm:
        print("answer", llm.generate("a", max_tokens=4, temperature=0).text)
except errors.ForeignLibraryError as error:
    print("refused", error)
"""


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libraries of llama.cpp's names and sonames whose functions abort."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("others")
    (folder / "other.c").write_text(SOURCE)
    (folder / "empty").mkdir()
    (folder / "empty" / "other.c").write_text("int nothing_of_llama;")
    for name in ("libggml-base.so", "libggml.so", "libllama.so", "empty/libggml.so"):
        library = folder / name
        flags = ("-shared", "-fPIC", f"-Wl,-soname,{library.name}")
        command: list[str | Path] = [compiler, *flags, "-o", library, library.with_name("other.c")]
        subprocess.run(command, check=True)
    return folder


def library_check(**environ: str) -> dict[str, str]:
    done = llmcore("doctor", "--json", "--port", "0", **environ)
    return next(check for check in json.loads(done.stdout)["checks"] if check["name"] == "library")


def test_a_folder_in_ld_library_path_changes_nothing(others: Path) -> None:
    check = library_check(LD_LIBRARY_PATH=str(others))
    assert check["status"] == "ok", check
    assert f"loaded from {library_dir()}: libggml-base.so" in check["found"]
    assert str(others) not in check["found"]


def test_a_preloaded_library_is_named(others: Path) -> None:
    library = others / "libggml-base.so"
    check = library_check(LD_PRELOAD=str(library))
    assert check["status"] == "fail"
    assert str(library) in check["found"]
    assert "LD_PRELOAD" in check["found"]


def test_a_library_that_replaces_nothing_is_told(others: Path) -> None:
    library = others / "empty" / "libggml.so"
    check = library_check(LD_PRELOAD=str(library))
    assert check["status"] == "ok"
    assert f"also loaded, and not used: {library}" in check["found"]


def ran(mode: str, library: Path, model: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode, library, model], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["libggml-base.so", "libllama.so"])
def test_one_that_was_loaded_before_for_itself_is_not_used(others: Path, name: str, tiny_model: Path) -> None:
    """Though it has the soname that ours are known by elsewhere."""
    alone = ran("none", others / name, tiny_model)
    assert alone.startswith("answer")
    assert ran("local", others / name, tiny_model) == alone


def test_two_copies_of_our_own_libraries_live_side_by_side(tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(library_dir(), tmp_path / "lib")
    copy = tmp_path / "lib" / LIBRARY_NAME
    assert ran("local", copy, tiny_model).startswith("answer")
    said = ran("global", copy.with_name("libllama.so"), tiny_model)
    assert said.startswith("refused")
    assert str(copy.parent) in said


def test_one_that_was_loaded_for_everybody_is_named(others: Path, tiny_model: Path) -> None:
    said = ran("global", others / "libllama.so", tiny_model)
    assert said.startswith("refused")
    assert str(others / "libllama.so") in said
    assert "RTLD_GLOBAL" in said


def test_ours_are_ours() -> None:
    lib, folder = load_library(), library_dir()
    check_global_scope(folder)
    check_functions([("llama_decode", function_address(lib.llama_decode))], folder)
    # /proc shows the targets of links in the folder (make sanitize).
    wanted = {each.name for each in folder.glob("lib*.so") if not each.is_symlink() and "openblas" not in each.name}
    assert wanted <= {os.path.basename(each) for each in mapped_libraries(folder).ours}


def test_a_function_of_another_folder_is_refused(tmp_path: Path) -> None:
    lib = load_library()
    with pytest.raises(ForeignLibraryError, match=f"llama_decode is of {library_dir()}/libllama.so, not of {tmp_path}"):
        check_functions([("llama_decode", function_address(lib.llama_decode))], tmp_path)


def test_maps_of_any_kind(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    ours = os.fsencode(tmp_path)
    maps.write_bytes(
        b"1-2 r-xp 0 0:0 1 " + ours + b"/libllama.so\n1-2 r-xp 0 0:0 1 " + ours + b"/libllama.so\n"
        b"1-2 rw-p 0 0:0 0\n1-2 rw-p 0 0:0 0 [stack]\n1-2 r-xp 0 0:0 1 /a b\xff/libggml-cpu.so.0\n1-2 r--p 0 0:0 1 /libfoo.so\n"
    )
    assert mapped_libraries(tmp_path, maps) == (
        [str(tmp_path / "libllama.so")],
        [os.fsdecode(b"/a b\xff/libggml-cpu.so.0")],
    )
    assert mapped_libraries(tmp_path, tmp_path / "none") == ([], [])
