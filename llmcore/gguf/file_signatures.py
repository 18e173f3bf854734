"""Formats that users pass instead of GGUF, recognized by a file's first bytes, with advice."""

from __future__ import annotations

import os
import struct

# Bytes of a file's start that all checks need.
N_BYTES = 512

CONVERT = "convert the model to GGUF (convert_hf_to_gguf.py of llama.cpp), or fetch a GGUF of it"
_UNPACK = "unpack it"
_OLD = "a model in a format from before GGUF: get a newer conversion"
_AGAIN = "the download went wrong: fetch the file again"

_BEGINNINGS = (
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself (`git lfs pull`)"),
    *((magic, _OLD) for magic in (b"ggjt", b"tjgg", b"ggml", b"lmgg", b"ggmf", b"fmgg")),
    *((magic, f"a LoRA adapter, {_OLD.partition(', ')[0]}") for magic in (b"ggla", b"algg")),
    (b"PK", f"a zip archive or a PyTorch file: {CONVERT}"),
    (b"\x80\x02", f"a Python pickle, as PyTorch writes: {CONVERT}"),
    (b"\x89HDF", f"an HDF5 file (Keras): {CONVERT}"),
    (b"\x1f\x8b", f"packed by gzip: {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"packed by zstd: {_UNPACK}"),
    (b"\xfd7zXZ", f"packed by xz: {_UNPACK}"),
    (b"BZh", f"packed by bzip2: {_UNPACK}"),
    (b"7z\xbc\xaf", f"a 7z archive: {_UNPACK}"),
    (b"\x08\x03\x12", f"an ONNX model: {CONVERT}"),
    *((b"\x08" + bytes([version, 0x12]), f"an ONNX model: {CONVERT}") for version in range(4, 13)),
)


def describe(start: bytes, file_bytes: int) -> str:
    """Describes a file that is not GGUF, and what to do. `start` has its first N_BYTES."""
    if not start:
        return "it is empty"
    for beginning, what in _BEGINNINGS:
        if start.startswith(beginning):
            return f"it looks like {what}"
    if _is_safetensors(start, file_bytes):
        return f"it looks like safetensors weights: {CONVERT}"
    if _is_old_imatrix(start):
        return "it looks like an importance matrix, which helps to quantize a model: name the model itself"
    if start[4:8] == b"TFL3":
        return f"it looks like a TensorFlow Lite model: {CONVERT}"
    if start[257:262] == b"ustar":
        return f"it looks like a tar archive: {_UNPACK}"
    if not start.strip(b"\0"):
        return "it begins with zeros only: it was not written to its end, fetch the file again"
    if b"GGUF".startswith(start):
        return f"it ends after {len(start)} bytes: fetch the file again"
    return _describe_text(start) or f"it starts with {start[:4]!r}"


def describe_folder(path: str) -> str:
    """Returns advice for a folder that was named instead of a file. Raises OSError."""
    names = sorted(os.listdir(path))
    files = [name for name in names if name.endswith(".gguf")]
    if files:
        several = f", or another of {len(files)}" if len(files) > 1 else ""
        return f"name the GGUF file in it, {os.path.join(path, files[0])}{several}"
    if any(name.endswith((".safetensors", ".bin")) for name in names):
        return f"it holds weights of another format; {CONVERT}"
    return "name the GGUF file in it"


def _is_safetensors(start: bytes, file_bytes: int) -> bool:
    """Recognizes safetensors: a length, then as many bytes of JSON."""
    if len(start) < 10:
        return False
    (length,) = struct.unpack_from("<Q", start)
    return start[8:9] == b"{" and length + 8 <= file_bytes


def _is_old_imatrix(start: bytes) -> bool:
    """Recognizes imatrix files from before GGUF: a count of entries, then the first one's name."""
    if len(start) < 8:
        return False
    n_entries, n_name = struct.unpack_from("<ii", start)
    name = start[8 : 8 + max(n_name, 0)]
    return 0 < n_entries < 2**20 and 0 < n_name <= 64 and len(name) == n_name and name.endswith(b".weight")


def _describe_text(start: bytes) -> str:
    """Returns the first line of a text, most likely a server's error message; "" for other bytes."""
    text = start.decode("utf-8", "ignore").lstrip("\ufeff \t\r\n")
    if not text or not all(each.isprintable() or each.isspace() for each in text) or len(text) < len(start) // 2:
        return ""
    if text.startswith("<"):
        return f"it looks like a web page: {_AGAIN}"
    if text[0] in "{[":
        return f"it looks like JSON, an error message or a configuration: {_AGAIN}, or name the model itself"
    return f"it is a text that begins {text.splitlines()[0][:60]!r}: {_AGAIN}, or name the model itself"
