"""Checks that native functions come from our own libraries: another copy of llama.cpp in the process may replace them silently.

Our libraries name each other by path ($ORIGIN in their sonames, see native/cmake/LlamaCpp.cmake), so neither LD_LIBRARY_PATH nor
a library that was loaded before changes which files are loaded. Symbols can still be replaced: those that LD_PRELOAD or RTLD_GLOBAL
has put into the process's global scope take precedence for all libraries.
"""

from __future__ import annotations

import ctypes as C
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from llmcore.errors import ForeignLibraryError

# Libraries that export functions of llama.cpp and ggml.
_SHARED = ("libggml-base.so", "libggml.so", "libllama.so")
# One pattern for each prefix: a search is much faster if the pattern begins with fixed bytes.
_NAMES = tuple(re.compile(rb"\0" + prefix + rb"[A-Za-z0-9_]+(?=\0)") for prefix in (b"ggml_", b"gguf_", b"llama_"))
_FILES = re.compile(rb"lib(?:llmcore|llama|ggml)[^/]*\.so[.\d]*")


class _DlInfo(C.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = [
        ("dli_fname", C.c_char_p),
        ("dli_fbase", C.c_void_p),
        ("dli_sname", C.c_char_p),
        ("dli_saddr", C.c_void_p),
    ]


class MappedLibraries(NamedTuple):
    """Files mapped into the process with names of llama.cpp's or llmcore's libraries: those of our folder, and others."""

    ours: list[str]
    others: list[str]


def check_global_scope(folder: Path) -> None:
    """Raises ForeignLibraryError if the process's global scope has functions of llama.cpp from outside `folder`. Call it before our
    libraries are loaded, so that none of their code runs with functions of another copy."""
    process = C.CDLL(None)
    for name in _function_names(folder):
        try:
            function = process[name]
        except AttributeError:
            continue
        file = _file_of(C.cast(function, C.c_void_p).value or 0)
        if not _is_in(file, folder):
            raise ForeignLibraryError(
                f"another copy of llama.cpp would be used in place of llmcore's: {_file_name(file)} defines {name} for the whole "
                f"process. {_remedy(file)}"
            )


def check_functions(functions: Iterable[tuple[str, int]], folder: Path) -> None:
    """Raises ForeignLibraryError if a function, given by name and address, is not from a file in `folder`."""
    for name, address in functions:
        file = _file_of(address)
        if not _is_in(file, folder):
            raise ForeignLibraryError(
                f"another copy of llama.cpp is used in place of llmcore's: {name} is of {_file_name(file)}, not of {folder}. "
                f"{_remedy(file)}"
            )


def mapped_libraries(folder: Path, maps: Path = Path("/proc/self/maps")) -> MappedLibraries:
    """Returns the mapped libraries, sorted; empty lists if /proc is not readable."""
    try:
        lines = maps.read_bytes().splitlines()
    except OSError:
        return MappedLibraries([], [])
    paths = {parts[5] for line in lines if len(parts := line.split(maxsplit=5)) == 6}
    found = sorted(path for path in paths if _FILES.fullmatch(os.path.basename(path)))
    ours = [os.fsdecode(path) for path in found if _is_in(path, folder)]
    return MappedLibraries(ours, [os.fsdecode(path) for path in found if not _is_in(path, folder)])


def _function_names(folder: Path) -> list[str]:
    """Returns names in our libraries that may be functions of llama.cpp's C API. Names that are not functions do no harm."""
    found: set[bytes] = set()
    for each in _SHARED:
        try:
            data = (folder / each).read_bytes()
        except OSError:  # reported when it is loaded
            continue
        for pattern in _NAMES:
            found.update(match[0][1:] for match in pattern.finditer(data))
    return sorted(name.decode("ascii") for name in found)


def _file_of(address: int) -> bytes:
    """Returns the file that an address belongs to, b"" if none."""
    dladdr = C.CDLL(None).dladdr
    dladdr.restype, dladdr.argtypes = C.c_int, (C.c_void_p, C.POINTER(_DlInfo))
    info = _DlInfo()
    return bytes(info.dli_fname or b"") if dladdr(address, C.byref(info)) else b""


def _is_in(file: bytes, folder: Path) -> bool:
    # The file itself may be a symbolic link (native/cmake/Sanitized.cmake).
    return os.path.realpath(os.path.dirname(file)) == os.fsencode(os.path.realpath(folder))


def _file_name(file: bytes) -> str:
    return os.fsdecode(file) or "no file"


def _remedy(file: bytes) -> str:
    for variable in ("LD_PRELOAD", "LD_LIBRARY_PATH"):
        words = re.split("[: ]", os.environ.get(variable, ""))
        folders = {
            os.path.realpath(word if variable == "LD_LIBRARY_PATH" else os.path.dirname(word)) for word in words if word
        }
        if os.path.realpath(os.path.dirname(os.fsdecode(file))) in folders:
            return f"Take it out of {variable}"
    return "It was loaded before, for everybody (RTLD_GLOBAL): load llmcore first, or in a process of its own"
