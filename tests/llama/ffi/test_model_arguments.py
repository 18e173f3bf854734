"""Arrays that a model's parameters point to."""

from __future__ import annotations

import pytest

from llmcore.errors import LlmcoreError
from llmcore.llama.ffi.library import load_library
from llmcore.llama.ffi.model_arguments import KvOverrides, RpcDevices
from llmcore.llama.ffi.structures import LlamaModelKvOverride


def test_overrides_are_typed_and_end_with_an_empty_key() -> None:
    overrides = KvOverrides({"tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.bos_token_id": 7})
    first, second, last = (LlamaModelKvOverride * 3).from_address(overrides.address)
    assert (first.key, first.tag, first.val_bool) == (b"tokenizer.ggml.add_bos_token", 2, False)
    assert (second.key, second.tag, second.val_i64) == (b"tokenizer.ggml.bos_token_id", 0, 7)
    assert last.key == b""


def test_devices_of_a_build_without_rpc_are_an_error() -> None:
    lib = load_library()
    if lib.lc_rpc_protocol():
        pytest.skip("this build has the RPC backend")
    with pytest.raises(LlmcoreError):
        RpcDevices(lib, ["localhost:50052"])
