"""The table of tensor types, against the source."""

from __future__ import annotations

import re

from benchmarks.source import llama_cpp_dir
from llmcore.gguf.tensor_types import TENSOR_TYPES, describe_unknown_type

SOURCE = llama_cpp_dir()


def test_the_type_table_is_that_of_the_source() -> None:
    """Numbers from the enum of ggml.h, block sizes from ggml.c, bytes from the static_asserts of ggml-common.h."""
    common = (SOURCE / "ggml/src/ggml-common.h").read_text("utf-8")
    sizes = {"half": 2, "fp16_t": 2, "bf16_t": 2, "float": 4, "double": 8}
    sizes.update({f"{sign}int{bits}_t": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)})
    constants: dict[str, int] = {}
    for name, value in re.findall(r"^#define (QK\w+|K_SCALE_SIZE|IQ3S_N_SCALE) ([\w/]+)", common, re.MULTILINE):
        constants[name] = eval(value.replace("/", "//"), {}, constants)
    for name, value in re.findall(r"static_assert\(sizeof\((block_\w+)\) == (.+), \"wrong", common):
        value = re.sub(r"sizeof\((?:ggml_)?(\w+)\)", lambda match: str(sizes[match[1]]), value)
        sizes[name] = eval(value.replace("/", "//"), {}, constants)
    enum = (SOURCE / "ggml/include/ggml.h").read_text("utf-8")
    numbers = re.findall(r"^ +GGML_TYPE_(\w+)\s*= (\d+),", enum, re.MULTILINE)
    traits = re.findall(
        r"\n +\[GGML_TYPE_(\w+)\] = \{[^}]*?blck_size\s*= (\w+),\s*\.type_size\s*= sizeof\((?:ggml_)?(\w+)\)",
        (SOURCE / "ggml/src/ggml.c").read_text("utf-8"),
    )
    blocks = {name: (constants.get(size) or int(size), sizes[kind]) for name, size, kind in traits}
    expected = {int(number): (name, *blocks[name]) for name, number in numbers if name != "COUNT"}
    assert {number: tuple(kind) for number, kind in TENSOR_TYPES.items()} == expected


def test_a_type_that_llama_cpp_dropped_is_named_and_others_are_not() -> None:
    assert "Q4_0_4_4, which llama.cpp has dropped" in describe_unknown_type(31)
    assert "does not know" in describe_unknown_type(99)
