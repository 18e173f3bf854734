"""Reads the primitive values of a GGUF file: numbers, strings, and arrays that are skipped.

Format: ggml/include/gguf.h of llama.cpp. Files are untrusted: every count and length is checked against a limit and the file's size
before anything is allocated, so memory and time stay bounded. The file is read, not mapped: a file that is truncated meanwhile must
not end the process.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from llmcore.errors import ModelFormatError, ModelTruncatedError

Scalar = int | float | bool | str

STRING, ARRAY = 8, 9
# gguf_type: number → name, struct format
SCALARS: dict[int, tuple[str, str]] = {
    0: ("u8", "<B"),
    1: ("i8", "<b"),
    2: ("u16", "<H"),
    3: ("i16", "<h"),
    4: ("u32", "<I"),
    5: ("i32", "<i"),
    6: ("f32", "<f"),
    7: ("bool", "<B"),
    10: ("u64", "<Q"),
    11: ("i64", "<q"),
    12: ("f64", "<d"),
}
BOOL = 7

# The largest vocabularies have about 300,000 entries and the longest chat templates 100 kB; the format allows keys of 65,535 bytes.
MAX_KEY_BYTES = 65_535
MAX_STRING_BYTES = 16 * 2**20
MAX_TEXT_BYTES = 64 * 2**20
MAX_ARRAY_BYTES = 256 * 2**20
MAX_STRINGS = 2**23

_WINDOW_BYTES = 256 * 2**10
_U64 = struct.Struct("<Q")


class GgufReader:
    """A window that moves forward over a file. Errors name the offset in the file."""

    def __init__(self, file: BinaryIO, path: str, file_bytes: int, start: int = 0) -> None:
        self._file = file
        self.path = path
        self.file_bytes = file_bytes
        self._window = b""
        self._window_start = start
        self._at = 0  # offset in the window
        self._n_strings = 0
        self._text_bytes = 0
        file.seek(start)

    @property
    def position(self) -> int:
        """Offset of the next value, in bytes from the start of the file."""
        return self._window_start + self._at

    def damaged(self, what: str) -> ModelFormatError:
        """Returns the error for a damaged file."""
        return ModelFormatError(
            f"{self.path} is damaged: {what}, at byte {self.position:,}. Fetch the file again", param="model_path"
        )

    def truncated(self, need_bytes: int) -> ModelTruncatedError:
        """Returns the error for a file that must have at least need_bytes."""
        return ModelTruncatedError(
            f"{self.path} is incomplete: it has {self.file_bytes} bytes and needs at least {need_bytes}. "
            "Fetch the file again",
            param="model_path",
        )

    def number(self, format: str) -> int | float:
        """Reads a number; `format` is struct's."""
        size = struct.calcsize(format)
        self._need(size)
        (value,) = struct.unpack_from(format, self._window, self._at)
        self._at += size
        number: int | float = value
        return number

    def count(self, format: str = "<Q") -> int:
        """Reads an integer."""
        return int(self.number(format))

    def text(self, what: str, limit: int, *, strict: bool = True) -> str:
        """Reads a string. `strict`: bytes that are not UTF-8 are an error; otherwise they become U+FFFD."""
        data = self.string(what, limit)
        try:
            return data.decode("utf-8", "strict" if strict else "replace")
        except UnicodeDecodeError:
            self._at -= len(data)
            raise self.damaged(f"{what} is not UTF-8") from None

    def string(self, what: str, limit: int) -> bytes:
        """Reads a string as bytes."""
        length = self.count()
        if length > limit:
            raise self.damaged(f"{what} of {length:,} bytes")
        self._text_bytes += length
        if self._text_bytes > MAX_TEXT_BYTES:
            raise self.damaged(f"more than {MAX_TEXT_BYTES:,} bytes of text in its metadata")
        self._need(length)
        data = self._window[self._at : self._at + length]
        self._at += length
        return data

    def skip_array(self, item_type: int, length: int) -> None:
        """Skips the items of an array, whose length is not checked yet."""
        if item_type == STRING:
            self._skip_strings(length)
            return
        size = length * struct.calcsize(SCALARS[item_type][1])
        if size > MAX_ARRAY_BYTES:
            raise self.damaged(f"an array of {length:,} items")
        self._seek(self.position + size)

    def _skip_strings(self, length: int) -> None:
        self._n_strings += length
        if self._n_strings > MAX_STRINGS:
            raise self.damaged(f"an array of {length:,} strings")
        if self.position + 8 * length > self.file_bytes:
            raise self.truncated(self.position + 8 * length)
        # A loop over local variables: vocabularies have several 100,000 strings.
        window, at, end, unpack = self._window, self._at, len(self._window), _U64.unpack_from
        limit = self.position + MAX_ARRAY_BYTES
        for _ in range(length):
            if at + 8 > end:
                self._at = at
                self._need(8)
                window, at, end = self._window, self._at, len(self._window)
            n_bytes = unpack(window, at)[0]
            at += 8 + n_bytes
            if at > end:
                self._at = at - n_bytes
                if n_bytes > MAX_STRING_BYTES or self.position > limit:
                    raise self.damaged(f"a string of {n_bytes:,} bytes")
                self._seek(self._window_start + at)
                window, at, end = self._window, self._at, len(self._window)
        self._at = at

    def _seek(self, position: int) -> None:
        if position > self.file_bytes:
            raise self.truncated(position)
        at = position - self._window_start
        if at <= len(self._window):
            self._at = at
        else:
            self._window, self._window_start, self._at = b"", position, 0

    def _need(self, size: int) -> None:
        """Makes the window contain `size` bytes from the current position."""
        if self._at + size <= len(self._window):
            return
        start = self.position
        if start + size > self.file_bytes:
            raise self.truncated(start + size)
        self._file.seek(start)
        self._window, self._window_start, self._at = self._file.read(max(size, _WINDOW_BYTES)), start, 0
        if len(self._window) < size:  # the file was truncated after it was opened
            self.file_bytes = start + len(self._window)
            raise self.truncated(start + size)
