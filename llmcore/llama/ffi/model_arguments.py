"""Arrays that LlamaModelParams points to. Each must outlive the model's loading."""

from __future__ import annotations

import ctypes as C
from collections.abc import Mapping, Sequence

from llmcore.llama.ffi.library import Library
from llmcore.llama.ffi.structures import LlamaModelKvOverride

# Devices of all RPC servers of a model: one or a few each.
_N_RPC_DEVICES_MAX = 256

# llama_model_kv_override_type
_OVERRIDE_INT, _OVERRIDE_BOOL = 0, 2


class RpcDevices:
    """Devices of RPC servers, for LlamaModelParams.devices, and their free memory in bytes. Raises NativeError."""

    def __init__(self, lib: Library, servers: Sequence[str]) -> None:
        endpoints = (C.c_char_p * len(servers))(*(each.encode() for each in servers))
        self._array, free_bytes = (C.c_void_p * _N_RPC_DEVICES_MAX)(), C.c_uint64()
        lib.check(lib.lc_rpc_devices(len(servers), endpoints, self._array, len(self._array), C.byref(free_bytes)))
        self.free_bytes = free_bytes.value

    @property
    def address(self) -> int:
        return C.addressof(self._array)


class KvOverrides:
    """Values that replace a file's metadata, for LlamaModelParams.kv_overrides."""

    def __init__(self, values: Mapping[str, bool | int]) -> None:
        self._array = (LlamaModelKvOverride * (len(values) + 1))()  # the last one has no key
        for each, (key, value) in zip(self._array, values.items(), strict=False):
            each.key = key.encode()
            if isinstance(value, bool):
                each.tag, each.val_bool = _OVERRIDE_BOOL, value
            else:
                each.tag, each.val_i64 = _OVERRIDE_INT, value

    @property
    def address(self) -> int:
        return C.addressof(self._array)
