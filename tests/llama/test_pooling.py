"""Names of pooling types, against llama.h."""

from __future__ import annotations

import re

import pytest

from benchmarks.source import llama_cpp_dir
from llmcore.llama.pooling import POOLING_TYPES, pooling_name


def test_numbers_are_those_of_the_source() -> None:
    header = (llama_cpp_dir() / "include/llama.h").read_text("utf-8")
    theirs = dict(re.findall(r"LLAMA_POOLING_TYPE_(\w+)\s*=\s*(-?\d+)", header))
    assert {
        name: int(theirs["UNSPECIFIED" if name == "auto" else name.upper()]) for name in POOLING_TYPES
    } == POOLING_TYPES


@pytest.mark.parametrize(("number", "name"), [(0, "none"), (1, "mean"), (4, "rank"), (-1, "none"), (9, "none")])
def test_an_unknown_number_is_no_pooling(number: int, name: str) -> None:
    assert pooling_name(number) == name
