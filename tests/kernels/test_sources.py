"""Rules for the kernels' sources."""

from __future__ import annotations

import re
from pathlib import Path

KERNELS = Path(__file__).parents[2] / "native/kernels"
FOLDERS = ("matmul", "weights")
INTRINSIC = re.compile(r"\b_(mm(256|512)?|tile)_\w+")


def test_intrinsics_stand_only_in_files_for_amx() -> None:
    """Other kernels are templates over a trait class of isa/simd, so that an instruction set is added in one place."""
    found = {
        path.name
        for folder in FOLDERS
        for path in (KERNELS / folder).iterdir()
        if not path.name.startswith("bf16_") and INTRINSIC.search(path.read_text())
    }
    assert not found


def test_only_the_list_of_formats_names_them_all() -> None:
    """Other code depends on a format only through FormatTraits, so that a new format needs no changes elsewhere."""
    allowed = {"formats.h", "packed.h"}
    found = {
        path.name
        for path in KERNELS.rglob("*.*")
        if path.suffix in (".h", ".cpp")
        and path.name not in allowed
        and len(set(re.findall(r"Format::(w\w+)", path.read_text()))) > 1
    }
    assert not found
