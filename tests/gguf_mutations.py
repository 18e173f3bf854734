"""Damaged GGUF files: a valid one, taken apart, changed in a way that a seed decides, and put together again."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmcore.gguf.header import read_header
from llmcore.gguf.reader import SCALARS

_ARRAY, _STRING = 9, 8
_SMALL = (
    0,
    1,
    2,
    3,
    7,
    8,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    257,
    511,
    512,
    513,
    1000,
    32000,
    2**16,
    2**24,
    2**31 - 1,
    2**31,
)
_ODD: tuple[int, ...] = (*_SMALL, 2**32 - 1, 2**32, 2**48, 2**63 - 1, 2**63, 2**64 - 1)
_ODD_FLOATS = (0.0, -1.0, 1e-38, 1e38, float("inf"), float("-inf"), float("nan"), 1e-5, -0.0)


@dataclass
class Entry:
    key: bytes
    type: int
    value: bytes


@dataclass
class Tensor:
    name: bytes
    shape: list[int]
    type: int
    offset: int


@dataclass
class Parts:
    """A file as what it is made of."""

    entries: list[Entry]
    tensors: list[Tensor]
    data: bytearray

    def join(self) -> bytearray:
        out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.entries)))
        for entry in self.entries:
            out += _text(entry.key) + struct.pack("<I", entry.type) + entry.value
        for tensor in self.tensors:
            n = len(tensor.shape)
            out += _text(tensor.name) + struct.pack(f"<I{n}QIQ", n, *tensor.shape, tensor.type, tensor.offset)
        out += bytes(-len(out) % 32)
        return out + self.data


def take_apart(path: Path) -> Parts:
    raw = path.read_bytes()
    header = read_header(path)
    at = 24
    entries = []
    for _ in header.metadata:
        key, at = _read_text(raw, at)
        (kind,) = struct.unpack_from("<I", raw, at)
        end = _value_end(raw, at + 4, kind)
        entries.append(Entry(key, kind, raw[at + 4 : end]))
        at = end
    kinds = []
    for tensor in header.tensors:
        _, at = _read_text(raw, at)
        kind_at = at + 4 + 8 * len(tensor.shape)
        kinds.append(struct.unpack_from("<I", raw, kind_at)[0])
        at = kind_at + 12
    tensors = [
        Tensor(t.name.encode(), list(t.shape), kind, t.offset) for t, kind in zip(header.tensors, kinds, strict=True)
    ]
    return Parts(entries, tensors, bytearray(raw[header.data_start :]))


def mutated(parts: Parts, seed: int) -> bytes:
    """The file that `seed` makes of `parts`, which stay as they are."""
    chance = random.Random(seed)
    changed = Parts(
        [Entry(e.key, e.type, e.value) for e in parts.entries],
        [Tensor(t.name, list(t.shape), t.type, t.offset) for t in parts.tensors],
        parts.data,
    )
    kind = chance.choice(_KINDS)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        kind(changed, chance)
    raw = changed.join()
    for change in chance.choice(_RAW):
        change(raw, len(raw) - len(parts.data), chance)
    return bytes(raw)


# --- Changes of what the file says, which leave its form intact --------------------------------------------------------


def _nothing(parts: Parts, chance: random.Random) -> None:
    pass


def _number(parts: Parts, chance: random.Random) -> None:
    """Another value of a number."""
    entry = chance.choice([each for each in parts.entries if each.type in SCALARS])
    entry.value = _pack(SCALARS[entry.type][1], chance)


def _string(parts: Parts, chance: random.Random) -> None:
    entry = chance.choice([each for each in parts.entries if each.type == _STRING])
    entry.value = _text(
        chance.choice((b"", b"llama", b"bert", b"mamba", b"gemma3", b"no", b"\xff\xfe", b"gpt2", b"x" * 5000))
    )


def _item(parts: Parts, chance: random.Random) -> None:
    """Other values of a few items of an array of numbers; or other bytes within strings."""
    entry = chance.choice([each for each in parts.entries if each.type == _ARRAY])
    (item,) = struct.unpack_from("<I", entry.value)
    value = bytearray(entry.value)
    for _ in range(chance.choice((1, 3, 200)) if len(value) > 12 else 0):
        if item in SCALARS:
            size = struct.calcsize(SCALARS[item][1])
            at = 12 + size * chance.randrange(max(1, (len(value) - 12) // size))
            value[at : at + size] = _pack(SCALARS[item][1], chance)
        else:
            at = _nth_string(value, chance.randrange(2000))
            (length,) = struct.unpack_from("<Q", value, at)
            value[at + 8 : at + 8 + length] = chance.randbytes(length)
    entry.value = bytes(value)


def _shorter_array(parts: Parts, chance: random.Random) -> None:
    entry = chance.choice([each for each in parts.entries if each.type == _ARRAY])
    item, n = struct.unpack_from("<IQ", entry.value)
    n = chance.choice((0, min(1, n), max(0, n - 1), n // 2))
    end = 12 + n * struct.calcsize(SCALARS[item][1]) if item in SCALARS else _nth_string(entry.value, n)
    entry.value = struct.pack("<IQ", item, n) + entry.value[12:end]


def _other_type(parts: Parts, chance: random.Random) -> None:
    entry = chance.choice(parts.entries)
    entry.type = chance.choice([*SCALARS, _STRING])
    entry.value = _text(b"text") if entry.type == _STRING else _pack(SCALARS[entry.type][1], chance)


def _no_key(parts: Parts, chance: random.Random) -> None:
    del parts.entries[chance.randrange(len(parts.entries))]


def _shape(parts: Parts, chance: random.Random) -> None:
    """Other dimensions; sometimes of the same product."""
    tensor = chance.choice(parts.tensors)
    if chance.random() < 0.4:
        tensor.shape = chance.choice((tensor.shape[::-1], [*tensor.shape, 1], [1, *tensor.shape], tensor.shape[:1]))
    else:
        tensor.shape[chance.randrange(len(tensor.shape))] = chance.choice(_ODD)
    if chance.random() < 0.7:
        _lay_out(parts)


def _tensor_type(parts: Parts, chance: random.Random) -> None:
    chance.choice(parts.tensors).type = chance.randrange(45)
    _lay_out(parts)


def _no_tensor(parts: Parts, chance: random.Random) -> None:
    del parts.tensors[chance.randrange(len(parts.tensors))]
    _lay_out(parts)


def _offset(parts: Parts, chance: random.Random) -> None:
    chance.choice(parts.tensors).offset = chance.choice(_ODD)


def _name(parts: Parts, chance: random.Random) -> None:
    tensor = chance.choice(parts.tensors)
    tensor.name = chance.choice(
        (b"", b"blk.999.attn_q.weight", b"blk.-1.x", b"output.weight", b"\xff", b"rope_freqs.weight")
    )


def _more_layers(parts: Parts, chance: random.Random) -> None:
    entry = chance.choice([each for each in parts.entries if b".attention." in each.key or b"_count" in each.key])
    entry.type, entry.value = _ARRAY, struct.pack("<IQ3I", 4, 3, *(chance.choice(_ODD) & 0xFFFFFFFF for _ in range(3)))


def _weights(parts: Parts, chance: random.Random) -> None:
    data = bytearray(parts.data)
    for _ in range(20):
        at = chance.randrange(len(data) - 400)
        data[at : at + 400] = chance.choice(
            (b"\xff" * 400, b"\0" * 400, chance.randbytes(400), struct.pack("<f", 1e38) * 100)
        )
    parts.data = data


_KINDS: tuple[Callable[[Parts, random.Random], None], ...] = (
    *(_nothing, _nothing, _number, _number, _number, _string, _item, _item, _shorter_array, _other_type, _no_key),
    *(_shape, _shape, _tensor_type, _no_tensor, _offset, _name, _more_layers, _weights),
)


# --- Changes of bytes --------------------------------------------------------------------------------------------------


def _flip(raw: bytearray, n_head: int, chance: random.Random) -> None:
    # Small numbers stand at the beginning and around the table of tensors, at the end of the head.
    low, high = chance.choice(((0, 2000), (n_head - 3000, n_head), (0, n_head)))
    for _ in range(chance.choice((1, 1, 3, 30))):
        raw[chance.randrange(max(0, low), high)] = chance.randrange(256)


def _cut(raw: bytearray, n_head: int, chance: random.Random) -> None:
    del raw[chance.choice((chance.randrange(len(raw)), chance.randrange(n_head), len(raw) - 1)) :]


def _insert(raw: bytearray, n_head: int, chance: random.Random) -> None:
    at = chance.randrange(n_head)
    raw[at:at] = chance.randbytes(chance.choice((1, 4, 8, 32)))


_RAW: tuple[tuple[Callable[[bytearray, int, random.Random], None], ...], ...]
_RAW = ((), (), (), (), (), (), (_flip,), (_flip,), (_cut,), (_insert,))


# --- The format --------------------------------------------------------------------------------------------------------


def _pack(format: str, chance: random.Random) -> bytes:
    if format[1] in "fd":
        return struct.pack(
            format, chance.choice(_ODD_FLOATS) if format[1] == "d" else min(chance.choice(_ODD_FLOATS), 3e38)
        )
    return (chance.choice(_ODD) % 2**64).to_bytes(8, "little")[: struct.calcsize(format)]


def _text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def _read_text(raw: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", raw, at)
    return raw[at + 8 : at + 8 + length], at + 8 + length


def _value_end(raw: bytes, at: int, kind: int) -> int:
    if kind == _STRING:
        return _read_text(raw, at)[1]
    if kind in SCALARS:
        return at + struct.calcsize(SCALARS[kind][1])
    item, n = struct.unpack_from("<IQ", raw, at)
    if item in SCALARS:
        return int(at + 12 + n * struct.calcsize(SCALARS[item][1]))
    at += 12
    for _ in range(n):
        at = _read_text(raw, at)[1]
    return at


def _nth_string(value: bytes | bytearray, n: int) -> int:
    """Where the n-th string of an array's value begins."""
    at = 12
    for _ in range(n):
        if at + 8 > len(value):
            return 12
        at += 8 + int(struct.unpack_from("<Q", value, at)[0])
    return at


def _lay_out(parts: Parts) -> None:
    """Offsets and data that suit the tensors, so that what is wrong lies elsewhere."""
    from llmcore.gguf.tensor_types import TENSOR_TYPES

    at = 0
    for tensor in parts.tensors:
        tensor.offset = at % 2**64
        kind = TENSOR_TYPES.get(tensor.type)
        n = 1
        for dimension in tensor.shape:
            n *= dimension
        size = n * 4 if kind is None else n // kind.block_size * kind.block_bytes
        at += size + -size % 32
    if len(parts.data) < at < 2**26:
        parts.data = parts.data + bytes(at - len(parts.data))
