"""Vectors as JSON."""

from __future__ import annotations

import asyncio
from array import array

import msgspec

from llmcore.protocol.replies import VectorsReply
from llmcore_app.answers.vector_json import encode_vectors, vector_numbers


def encode(index: int, vector: memoryview) -> bytes:
    return msgspec.json.encode([index, *vector_numbers(vector)])


async def test_each_vector_is_encoded() -> None:
    vectors = VectorsReply(1, array("f", [0.5, 1.5, -2.0, 4.0]).tobytes(), 2, 2)
    assert await encode_vectors(vectors, encode) == [b"[0,0.5,1.5]", b"[1,-2.0,4.0]"]


async def test_other_tasks_run_meanwhile() -> None:
    n, width = 3, 20_000  # above the numbers between two pauses
    vectors = VectorsReply(1, array("f", [0.0] * n * width).tobytes(), width, n)
    order: list[str] = []

    def note(index: int, vector: memoryview) -> bytes:
        order.append("vector")
        return b""

    async def other() -> None:
        for _ in range(n):
            order.append("other")
            await asyncio.sleep(0)

    await asyncio.gather(encode_vectors(vectors, note), other())
    assert order[:4] == ["vector", "other"] * 2
