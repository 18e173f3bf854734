"""The SIMD layer (native/kernels/isa/simd): the only place of intrinsics, and the same members in every trait class."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "native/kernels"
SIMD = KERNELS / "isa/simd"
FOLDERS = ("isa", "attention", "elementwise", "backend", "peak")
INTRINSIC = re.compile(r"\b_(mm(256|512)?|tile|cvt\w+)_\w+|\b__m(128|256|512|mask)\w*|immintrin\.h")
MEMBER = re.compile(
    r"(?:LC_INLINE|static inline) [\w:]+ (\w+)\(|^    using (\w+) |^    static constexpr \w+ +(\w+) ", re.MULTILINE
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_intrinsics_stand_only_in_the_simd_layer_and_in_files_for_amx(folder: str) -> None:
    files = [path for path in (KERNELS / folder).rglob("*") if path.suffix in (".h", ".cpp")]
    assert files
    found = {
        path.name
        for path in files
        if SIMD not in path.parents and "amx" not in path.name and INTRINSIC.search(path.read_text())
    }
    assert not found


def members(header: str) -> set[str]:
    public = (SIMD / header).read_text().split("private:")[0]
    return {name for match in MEMBER.findall(public) for name in match if name}


def test_trait_classes_have_the_members_that_are_documented() -> None:
    document = (SIMD / "simd.h").read_text()
    members_of_all = members("avx2.h") & members("avx512.h")
    assert members("avx512.h") == members_of_all, "AVX2 lacks them"
    assert {"F32", "I32", "Mask", "LANES", "fma", "dot_broadcast", "match_u16x64"} <= members_of_all
    missing = {name for name in members_of_all if not re.search(rf"\b{name}\b", document)}
    assert not missing
