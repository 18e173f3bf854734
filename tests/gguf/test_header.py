"""Headers of real files, damaged files and hostile files."""

from __future__ import annotations

import os
import re
import struct
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.source import llama_cpp_dir
from llmcore.errors import ModelError, ModelFormatError, ModelMissingError, ModelTruncatedError
from llmcore.gguf.header import GgufArray, read_header
from llmcore.gguf.split_model import check_model_file

SOURCE = llama_cpp_dir()
VOCABULARIES = sorted((SOURCE / "models").glob("ggml-vocab-*.gguf"))

# Bound on the time of each read, whatever the contents.
QUICK_S = 2.0


# --- A small file, byte by byte ---------------------------------------------------------------------------------------


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def entry(key: bytes, type_number: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", type_number) + value


def tensor(name: bytes = b"w", shape: tuple[int, ...] = (4, 2), type_number: int = 0, offset: int = 0) -> bytes:
    dimensions = struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + struct.pack("<I", len(shape)) + dimensions + struct.pack("<IQ", type_number, offset)


ENTRIES = [
    entry(b"general.architecture", 8, text(b"llama")),
    entry(b"general.alignment", 4, struct.pack("<I", 64)),
    entry(b"x.strings", 9, struct.pack("<IQ", 8, 3) + text(b"a") + text("ü".encode()) + text(b"")),
    entry(b"x.numbers", 9, struct.pack("<IQ", 6, 2) + struct.pack("<2f", 1.5, -2.0)),
    entry(b"x.flag", 7, b"\x01"),
    entry(b"x.u8", 0, b"\xff"),
    entry(b"x.i8", 1, b"\xff"),
    entry(b"x.u16", 2, b"\xff\xff"),
    entry(b"x.i16", 3, b"\xff\xff"),
    entry(b"x.i32", 5, b"\xff" * 4),
    entry(b"x.u64", 10, b"\xff" * 8),
    entry(b"x.i64", 11, b"\xff" * 8),
    entry(b"x.f64", 12, struct.pack("<d", 0.25)),
]
TENSORS = [tensor(b"w", (4, 2)), tensor(b"q", (32,), 2, offset=64)]


def build(
    entries: list[bytes] = ENTRIES,
    tensors: list[bytes] = TENSORS,
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    n_tensors: int | None = None,
    n_entries: int | None = None,
    n_data: int = 64 + 18,
    alignment: int = 64,
) -> bytes:
    counts = (len(tensors) if n_tensors is None else n_tensors, len(entries) if n_entries is None else n_entries)
    head = magic + struct.pack("<IQQ", version, *counts) + b"".join(entries + tensors)
    return head + bytes(-len(head) % alignment) + bytes(n_data)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "m.gguf"
    path.write_bytes(data)
    return path


def test_every_field_of_a_small_file(tmp_path: Path) -> None:
    path = write(tmp_path, build())
    header = check_model_file(path)
    assert (header.version, header.architecture, header.alignment) == (3, "llama", 64)
    scalars = {key: value for key, value in header.metadata.items() if not isinstance(value, GgufArray)}
    assert scalars == {
        "general.architecture": "llama",
        "general.alignment": 64,
        "x.flag": True,
        "x.u8": 255,
        "x.i8": -1,
        "x.u16": 65535,
        "x.i16": -1,
        "x.i32": -1,
        "x.u64": 2**64 - 1,
        "x.i64": -1,
        "x.f64": 0.25,
    }
    strings, numbers = header.metadata["x.strings"], header.metadata["x.numbers"]
    assert isinstance(strings, GgufArray)
    assert isinstance(numbers, GgufArray)
    assert (strings.item_type, strings.length, strings.values()) == ("str", 3, ["a", "ü", ""])
    assert (numbers.item_type, numbers.length, numbers.values()) == ("f32", 2, [1.5, -2.0])
    assert [(each.name, each.shape, each.type.name, each.offset, each.size_bytes) for each in header.tensors] == [
        ("w", (4, 2), "F32", 0, 32),
        ("q", (32,), "Q4_0", 64, 18),
    ]
    assert header.data_start % 64 == 0
    assert header.tensor_bytes == 50
    assert header.min_file_bytes == header.file_bytes == path.stat().st_size


def test_version_2_and_an_empty_file(tmp_path: Path) -> None:
    assert read_header(write(tmp_path, build(version=2))).version == 2
    header = read_header(write(tmp_path, build([], [], n_data=0, alignment=1)))
    assert (header.architecture, header.tensors, header.min_file_bytes) == ("", (), 24)


# --- Real files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", VOCABULARIES, ids=lambda path: path.stem.removeprefix("ggml-vocab-"))
def test_vocabularies(path: Path) -> None:
    started = time.monotonic()
    header = check_model_file(path)
    assert time.monotonic() - started < QUICK_S
    assert header.min_file_bytes == header.file_bytes
    tokens = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, GgufArray)
    assert len(tokens.values()) == tokens.length


def test_values_are_what_the_gguf_package_reads(tmp_path: Path) -> None:
    from gguf import GGUFReader

    path = write(tmp_path, build())
    theirs, ours = GGUFReader(path), read_header(path).metadata
    assert set(ours) == {key for key in theirs.fields if not key.startswith("GGUF.")}
    for key, value in ours.items():
        assert (value.values() if isinstance(value, GgufArray) else value) == theirs.fields[key].contents()


def test_the_default_model(default_model: Path) -> None:
    header = check_model_file(default_model)
    assert (header.architecture, len(header.tensors), header.file_bytes) == ("llama", 272, 98_362_432)
    assert header.min_file_bytes == header.file_bytes
    assert header.number("llama.context_length") == 8192


# --- Files that are not what they should be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"GG", "ends after 2 bytes"),
        (b"XXYZ\x01\x02", "starts with"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"<!DOCTYPE html>", "web page"),
        (b"PK\x03\x04", "PyTorch"),
        (build(version=1), "version 1"),
        (build(version=4), "version 4"),
        (build(version=3 << 24), "big-endian"),
        (build(version=0), "version 0"),
        (build(n_tensors=2**63), "tensors"),
        (build(n_entries=2**40), "metadata keys"),
        (build([entry(b"a", 13, b"")]), "unknown type 13"),
        (build([entry(b"a", 9, struct.pack("<IQ", 9, 1))]), "array of type 9"),
        (build([entry(b"a", 9, struct.pack("<IQ", 6, 2**62))]), "an array of"),
        (build([entry(b"a", 9, struct.pack("<IQ", 8, 2**62))]), "an array of"),
        (build([entry(b"a", 9, struct.pack("<IQ", 8, 1) + struct.pack("<Q", 2**63))]), "a string of"),
        (build([entry(b"a", 8, struct.pack("<Q", 2**63))]), "a string of"),
        (build([struct.pack("<Q", 2**31)]), "a metadata key of"),
        (build([entry(b"", 7, b"\x01")]), "empty"),
        (build([entry(b"a", 7, b"\x01")] * 2), "there twice"),
        (build([entry(b"\xff\xfe", 7, b"\x01")]), "not UTF-8"),
        (build([entry(b"general.alignment", 4, struct.pack("<I", 0))]), "general.alignment is 0"),
        (build([entry(b"general.alignment", 4, struct.pack("<I", 24))]), "general.alignment is 24"),
        (build([entry(b"general.alignment", 8, text(b"32"))]), "general.alignment is '32'"),
        (build(tensors=[tensor(b"\xff")]), "not UTF-8"),
        (build(tensors=[tensor(b"x" * 64)]), "a tensor name of 64 bytes"),
        (build(tensors=[tensor(shape=(1,) * 5)]), "5 dimensions"),
        (build(tensors=[tensor(type_number=4)]), "has type 4"),
        (build(tensors=[tensor(type_number=999)]), "has type 999"),
        (build(tensors=[tensor(shape=(33,), type_number=2)]), "has shape"),
        (build(tensors=[tensor(shape=(2**40, 2**40))]), "has shape"),
        (build(tensors=[tensor(), tensor(offset=64)]), "there twice"),
        (build(tensors=[tensor(b"a"), tensor(b"b", offset=8)]), "offset 8 instead of 64"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ModelFormatError, match=said) as caught:
        read_header(write(tmp_path, data))
    assert not isinstance(caught.value, ModelTruncatedError)
    assert str(tmp_path) in caught.value.message


def test_cut_anywhere_is_a_clear_error(tmp_path: Path) -> None:
    """Every length of the small file, so every structural boundary and everything between."""
    data = build()
    for n in range(len(data)):
        path = write(tmp_path, data[:n])
        with pytest.raises(ModelFormatError) as caught:
            check_model_file(path)
        if n >= 24:
            assert isinstance(caught.value, ModelTruncatedError)
            found = re.search(r"it has (\d+) bytes and needs at least (\d+)", caught.value.message)
            assert found is not None
            assert int(found[1]) == n < int(found[2]) <= len(data)


def test_a_truncated_model_names_both_sizes(tmp_path: Path, default_model: Path) -> None:
    path = tmp_path / "short.gguf"
    with default_model.open("rb") as file:
        path.write_bytes(file.read(50_000_000))
    with pytest.raises(ModelTruncatedError, match="it has 50000000 bytes and needs at least 98362432"):
        check_model_file(path)


def test_a_sparse_file_of_many_gigabytes_is_read_quickly(tmp_path: Path) -> None:
    """Counts that a huge file would allow, although there is nothing in it."""
    bombs = (
        entry(b"a", 9, struct.pack("<IQ", 8, 2**40)),
        entry(b"a", 9, struct.pack("<IQ", 8, 2**23)),
        entry(b"a", 8, struct.pack("<Q", 2**33)),
        entry(b"a", 9, struct.pack("<IQ", 0, 2**35)),
    )
    for bomb in bombs:
        path = write(tmp_path, build([bomb], [], n_entries=60_000))
        os.truncate(path, 2**36)
        started = time.monotonic()
        with pytest.raises(ModelFormatError):
            read_header(path)
        assert time.monotonic() - started < 2 * QUICK_S


def test_an_array_that_changed_since(tmp_path: Path) -> None:
    path = write(tmp_path, build())
    strings = read_header(path).metadata["x.strings"]
    assert isinstance(strings, GgufArray)
    os.truncate(path, strings.offset + 4)
    with pytest.raises(ModelTruncatedError):
        strings.values()
    path.unlink()
    with pytest.raises(ModelMissingError):
        strings.values()


def only_model_errors(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    started = time.monotonic()
    try:
        header = check_model_file(path)
        for value in header.metadata.values():
            if isinstance(value, GgufArray):
                value.values()
    except ModelError:
        pass
    assert time.monotonic() - started < QUICK_S


quickly = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quickly
@given(st.binary(max_size=400))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    only_model_errors(tmp_path / "m.gguf", data)
    only_model_errors(tmp_path / "m.gguf", b"GGUF\x03\x00\x00\x00" + data)


@quickly
@given(st.data())
def test_any_change_of_a_good_file(tmp_path: Path, data: st.DataObject) -> None:
    changed = bytearray(build())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        patch: bytes = data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8), st.just(bytes(8))))
        changed[at : at + len(patch)] = patch
    only_model_errors(tmp_path / "m.gguf", bytes(changed))


# --- Split models -----------------------------------------------------------------------------------------------------


def test_a_split_number_of_the_wrong_type(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"split\.count"):
        check_model_file(write(tmp_path, build([entry(b"split.count", 8, text(b"x"))], [])))
