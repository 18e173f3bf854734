"""The header of a GGUF file, read in Python: metadata, tensor table, and the least size of the file.

A wrong, damaged or incomplete file becomes a clear error before native code reads it, and the size of its weights can be compared
with the available memory. Format: ggml/include/gguf.h of llama.cpp, versions 2 and 3; the checks are those of ggml's own
reader (gguf.cpp).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import BinaryIO

from llmcore.errors import ModelFormatError
from llmcore.gguf.file_signatures import N_BYTES, describe
from llmcore.gguf.model_file import open_model_file
from llmcore.gguf.reader import ARRAY, BOOL, MAX_KEY_BYTES, MAX_STRING_BYTES, SCALARS, STRING, GgufReader, Scalar
from llmcore.gguf.tensor_types import TENSOR_TYPES, TensorType, describe_unknown_type

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT_KEY = "general.alignment"
_MAX_METADATA = 65_536
_MAX_TENSORS = 131_072
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
_MAX_NAME_BYTES = 63  # GGML_MAX_NAME, less its final zero
_MAX_ALIGNMENT = 2**20


@dataclass(frozen=True)
class GgufArray:
    """An array in the metadata. Its values are read from the file when needed."""

    path: str
    type_number: int
    length: int
    offset: int  # of the first item, in bytes from the start of the file

    @property
    def item_type(self) -> str:
        """Name of the type in ggml: str, f32, i32 and so on."""
        return "str" if self.type_number == STRING else SCALARS[self.type_number][0]

    def values(self) -> list[Scalar]:
        """Reads all items; bytes of strings that are not UTF-8 become U+FFFD. Raises ModelError if the file has
        changed."""
        with open_model_file(self.path) as file:
            reader = GgufReader(file, self.path, os.fstat(file.fileno()).st_size, self.offset)
            return [_scalar(reader, self.type_number) for _ in range(self.length)]

    def strings(self) -> list[bytes]:
        """Reads all items of an array of strings, as bytes. Raises ModelError if the file has changed."""
        with open_model_file(self.path) as file:
            reader = GgufReader(file, self.path, os.fstat(file.fileno()).st_size, self.offset)
            return [reader.string("a string", MAX_STRING_BYTES) for _ in range(self.length)]


@dataclass(frozen=True)
class TensorInfo:
    """An entry of the tensor table. `shape` counts elements, the innermost dimension first; `offset` is in bytes from the header's
    data_start."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int

    @property
    def size_bytes(self) -> int:
        n = 1
        for dimension in self.shape:
            n *= dimension
        return n // self.type.block_size * self.type.block_bytes


@dataclass(frozen=True)
class GgufHeader:
    """Metadata and tensor table of a file. `data_start` is the offset of the tensors in bytes; `parts` are the headers of the other
    parts of a split model, if split_model.check_model_file() has read them."""

    path: str
    file_bytes: int
    version: int
    metadata: dict[str, Scalar | GgufArray] = field(repr=False)
    tensors: tuple[TensorInfo, ...] = field(repr=False)
    alignment: int
    data_start: int
    parts: tuple[GgufHeader, ...] = ()

    @property
    def architecture(self) -> str:
        """Name of the architecture, for example "llama"; "" if the file names none."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def min_file_bytes(self) -> int:
        """Least size of this file."""
        if not self.tensors:
            return self.data_start
        last = self.tensors[-1]
        return self.data_start + last.offset + last.size_bytes

    @property
    def tensor_bytes(self) -> int:
        """Size of all tensors, including those of the other parts."""
        return sum(tensor.size_bytes for tensor in self.tensors) + sum(part.tensor_bytes for part in self.parts)

    def number(self, key: str, default: int = 0) -> int:
        """Returns an integer of the metadata. Raises ModelFormatError if it is something else."""
        value = self.metadata.get(key, default)
        if not isinstance(value, int):
            raise ModelFormatError(f"{self.path} is damaged: {key} is not a whole number", param="model_path")
        return value

    def numbers(self, key: str) -> tuple[int, ...]:
        """Returns the integers of a key that has one value for all layers (one number), or one for each; () without the key. Raises
        ModelFormatError if it is something else."""
        value = self.metadata.get(key)
        if value is None:
            return ()
        found = value.values() if isinstance(value, GgufArray) else [value]
        numbers = tuple(each for each in found if isinstance(each, int))
        if len(numbers) != len(found):
            raise ModelFormatError(
                f"{self.path} is damaged: {key} is not a whole number, nor an array of such", param="model_path"
            )
        return numbers


def read_header(path: str | os.PathLike[str]) -> GgufHeader:
    """Reads and checks the header of one file, and checks the file's size.

    Raises ModelMissingError, ModelFormatError, ModelTruncatedError, or ModelError if the file cannot be read.
    """
    name = os.fsdecode(path)
    with open_model_file(name) as file:
        reader = GgufReader(file, name, os.fstat(file.fileno()).st_size)
        version = _check_start(reader, file)
        n_tensors, n_metadata = reader.count(), reader.count()
        if n_tensors > _MAX_TENSORS or n_metadata > _MAX_METADATA:
            raise reader.damaged(f"{n_tensors:,} tensors and {n_metadata:,} metadata keys")
        metadata: dict[str, Scalar | GgufArray] = {}
        for _ in range(n_metadata):
            _read_entry(reader, metadata)
        alignment = _alignment(reader, metadata)
        tensors = _read_tensors(reader, n_tensors, alignment)
    start = reader.position + (-reader.position % alignment if tensors else 0)
    header = GgufHeader(name, reader.file_bytes, version, metadata, tensors, alignment, start)
    if header.min_file_bytes > header.file_bytes:
        raise reader.truncated(header.min_file_bytes)
    return header


def _check_start(reader: GgufReader, file: BinaryIO) -> int:
    """Checks the magic number; returns the version."""
    start = file.read(N_BYTES)
    if start[:4] != _MAGIC:
        looks = describe(start, reader.file_bytes)
        raise ModelFormatError(f"{reader.path} is not a GGUF file: {looks}", param="model_path")
    reader.count("<I")
    version = reader.count("<I")
    if version in _VERSIONS:
        return version
    if version & 0xFFFF == 0 and version:
        raise ModelFormatError(
            f"{reader.path} is a big-endian GGUF file: get the little-endian one", param="model_path"
        )
    raise ModelFormatError(
        f"{reader.path} is GGUF version {version}; versions 2 and 3 are supported: get another conversion of the model",
        param="model_path",
    )


def _scalar(reader: GgufReader, type_number: int) -> Scalar:
    if type_number == STRING:
        return reader.text("a string", MAX_STRING_BYTES, strict=False)
    value = reader.number(SCALARS[type_number][1])
    return bool(value) if type_number == BOOL else value


def _read_entry(reader: GgufReader, metadata: dict[str, Scalar | GgufArray]) -> None:
    key = reader.text("a metadata key", MAX_KEY_BYTES)
    if not key or key in metadata:
        raise reader.damaged(f"metadata key {key!r} is {'there twice' if key else 'empty'}")
    type_number = reader.count("<I")
    if type_number == STRING or type_number in SCALARS:
        metadata[key] = _scalar(reader, type_number)
        return
    if type_number != ARRAY:
        raise reader.damaged(f"metadata key {key!r} has unknown type {type_number}")
    item_type, length = reader.count("<I"), reader.count()
    if item_type != STRING and item_type not in SCALARS:
        raise reader.damaged(f"metadata key {key!r} is an array of type {item_type}")
    metadata[key] = GgufArray(reader.path, item_type, length, reader.position)
    reader.skip_array(item_type, length)


def _alignment(reader: GgufReader, metadata: dict[str, Scalar | GgufArray]) -> int:
    alignment = metadata.get(_ALIGNMENT_KEY, 32)
    if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise reader.damaged(f"{_ALIGNMENT_KEY} is {alignment!r}")
    return alignment


def _read_tensors(reader: GgufReader, n_tensors: int, alignment: int) -> tuple[TensorInfo, ...]:
    tensors: dict[str, TensorInfo] = {}
    expected = 0
    for _ in range(n_tensors):
        tensor = _read_tensor(reader)
        if tensor.name in tensors:
            raise reader.damaged(f"tensor {tensor.name!r} is there twice")
        # ggml requires that tensors follow one another, each padded.
        if tensor.offset != expected:
            raise reader.damaged(f"tensor {tensor.name!r} has offset {tensor.offset:,} instead of {expected:,}")
        expected += tensor.size_bytes + -tensor.size_bytes % alignment
        tensors[tensor.name] = tensor
    return tuple(tensors.values())


def _read_tensor(reader: GgufReader) -> TensorInfo:
    name = reader.text("a tensor name", _MAX_NAME_BYTES)
    n_dimensions = reader.count("<I")
    if n_dimensions > _MAX_DIMENSIONS:
        raise reader.damaged(f"tensor {name!r} has {n_dimensions:,} dimensions")
    shape = tuple(reader.count() for _ in range(n_dimensions))
    n_elements = 1
    for dimension in shape:
        n_elements *= max(dimension, 1)
    type_number = reader.count("<I")
    offset = reader.count()
    kind = TENSOR_TYPES.get(type_number)
    if kind is None:
        raise ModelFormatError(
            f"{reader.path}: tensor {name!r} has type {type_number}, {describe_unknown_type(type_number)}",
            param="model_path",
        )
    if n_elements >= 2**60 or (shape[0] if shape else 1) % kind.block_size:
        raise reader.damaged(f"tensor {name!r} of type {kind.name} has shape {shape}")
    return TensorInfo(name, shape, kind, offset)
