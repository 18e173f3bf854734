"""The types of ggml tensors, as GGUF files number them.

Source: `enum ggml_type` in ggml.h and the block structures of ggml-common.h, of the pinned llama.cpp.
"""

from __future__ import annotations

from typing import NamedTuple


class TensorType(NamedTuple):
    """`block_size` consecutive elements of a row are stored together in `block_bytes` bytes."""

    name: str
    block_size: int
    block_bytes: int


# Missing numbers were removed from the format; ggml refuses them, too.
TENSOR_TYPES: dict[int, TensorType] = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 36),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
    41: TensorType("Q1_0", 128, 18),
    42: TensorType("Q2_0", 64, 18),
}

# Numbers of ggml_type that are no longer in use.
_REMOVED_TYPES = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}


def describe_unknown_type(number: int) -> str:
    """Returns advice about a tensor of a type that is not in TENSOR_TYPES."""
    if number in _REMOVED_TYPES:
        return (
            f"{_REMOVED_TYPES[number]}, which llama.cpp has dropped: get the same model as Q4_0 (or IQ4_NL), which is packed "
            "for the CPU when it is loaded"
        )
    return (
        "which this version does not know: get another quantization of the model, such as Q4_K_M. (A later llama.cpp, or "
        "a fork, wrote it.)"
    )
