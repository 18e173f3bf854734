"""Pooling types: ways to make one vector of a text from those of its tokens."""

from __future__ import annotations

# llama_pooling_type, by llama.h of the pinned source. "auto" is the file's own.
POOLING_TYPES = {"auto": -1, "none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}


def pooling_name(number: int) -> str:
    """Returns the name of a pooling type in a model file; "none" for an unknown one."""
    return next((name for name, each in POOLING_TYPES.items() if each == number and number >= 0), "none")
