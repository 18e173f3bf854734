"""Files that are not GGUF: each is named by its format, with advice."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import ModelFormatError, ModelMissingError
from llmcore.gguf.file_signatures import N_BYTES, describe
from llmcore.gguf.split_model import check_model_file

HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()

FILES = {
    "safetensors": (struct.pack("<Q", len(HEADER)) + HEADER + bytes(4), "safetensors weights: convert"),
    "torch.bin": (b"PK\x03\x04" + bytes(100), "PyTorch file: convert"),
    "old.pt": (b"\x80\x02\x8a\nl\xfc\x9cF", "Python pickle"),
    "keras": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "onnx": (b"\x08\x07\x12\x07pytorch", "ONNX model"),
    "tflite": (b"\x1c\0\0\0TFL3\x14\0", "TensorFlow Lite"),
    "ggjt": (b"tjgg\x03\0\0\0", "before GGUF"),
    "ggml": (b"lmgg\x01\0\0\0", "before GGUF"),
    "ggla": (b"algg\x01\0\0\0", "a LoRA adapter, a model in a format from before GGUF"),
    "imatrix.dat": (struct.pack("<ii", 99, 19) + b"blk.0.attn_q.weight" + bytes(50), "an importance matrix"),
    "page": (b"\n  <!DOCTYPE html><html>", "a web page: the download went wrong"),
    "json": (b'{"error": "Invalid credentials in Authorization header"}', "JSON, an error message"),
    "text": ("Accès refusé: sign in first\nmore".encode(), "a text that begins 'Accès refusé: sign in first'"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer: fetch the file itself"),
    "zeros": (bytes(5000), "zeros only"),
    "gzip": (b"\x1f\x8b\x08\x00", "gzip: unpack"),
    "tar": (b"a" * 257 + b"ustar\0" + bytes(300), "tar archive: unpack"),
    "empty": (b"", "it is empty"),
    "start": (b"GGU", "ends after 3 bytes"),
    "noise": (b"\x01\xfe\x93\x00\x88", "starts with"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_it_is(name: str, tmp_path: Path) -> None:
    data, said = FILES[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ModelFormatError) as caught:
        check_model_file(path)
    assert said in caught.value.message
    assert "is not a GGUF file" in caught.value.message
    assert "damaged" not in caught.value.message


@given(st.binary(max_size=N_BYTES), st.integers(0, 2**40))
def test_any_start_has_some_description(start: bytes, file_bytes: int) -> None:
    said = describe(start, file_bytes)
    assert said
    assert said.isprintable()


def test_a_folder_tells_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="is a folder: name the GGUF file in it"):
        check_model_file(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelMissingError, match="weights of another format; convert"):
        check_model_file(tmp_path)
    for name in ("b.gguf", "a.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(ModelMissingError, match=r"/a\.gguf, or another of 2"):
        check_model_file(tmp_path)
