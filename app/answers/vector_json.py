"""Vectors as JSON, without blocking the event loop for long."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable

from llmcore.protocol.replies import VectorsReply

# The event loop runs other tasks after so many numbers were written as text: tokens of other requests are sent in between.
_N_NUMBERS_BETWEEN_PAUSES = 16_384
_FLOAT32_BYTES = 4


async def encode_vectors(vectors: VectorsReply, encode: Callable[[int, memoryview], bytes]) -> list[bytes]:
    """Returns the JSON of each vector, which `encode` makes of its index and its float32 numbers."""
    size_bytes = vectors.width * _FLOAT32_BYTES
    data = memoryview(vectors.data)
    items = []
    pause_every = max(1, _N_NUMBERS_BETWEEN_PAUSES // vectors.width)
    for index in range(len(data) // size_bytes):
        items.append(encode(index, data[index * size_bytes : (index + 1) * size_bytes]))
        if index % pause_every == pause_every - 1:
            await asyncio.sleep(0)
    return items


def vector_numbers(vector: memoryview) -> list[float]:
    numbers = array("f")
    numbers.frombytes(vector)  # native byte order, which is little-endian on all machines that llmcore supports
    return numbers.tolist()
