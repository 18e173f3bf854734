"""Graphs of ggml on three backends: ours, that of packed weights, and ggml's CPU. ggml's scheduler divides them as in llama.cpp."""

from __future__ import annotations

import ctypes as C
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from llmcore.llama.ffi.library import library_dir
from tests.native_kernels import TYPES, Floats

F32, F16, I32 = 0, 1, 26
NUMBERS = {"f32": F32, "f16": F16, "i32": I32} | {name: number for name, (number, _) in TYPES.items()}

_P, _I64, _SIZE = C.c_void_p, C.c_int64, C.c_size_t
_WEIGHTS = 1
_GRAPH_SIZE = 64

Bytes = npt.NDArray[np.uint8]


class _InitParams(C.Structure):
    _fields_ = (("mem_size", _SIZE), ("mem_buffer", _P), ("no_alloc", C.c_bool))


_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ggml_init": (_P, (_InitParams,)),
    "ggml_free": (None, (_P,)),
    "ggml_new_tensor": (_P, (_P, C.c_int, C.c_int, C.POINTER(_I64))),
    "ggml_set_input": (None, (_P,)),
    "ggml_set_output": (None, (_P,)),
    "ggml_nbytes": (_SIZE, (_P,)),
    "ggml_new_graph": (_P, (_P,)),
    "ggml_build_forward_expand": (None, (_P, _P)),
    "ggml_backend_dev_by_name": (_P, (C.c_char_p,)),
    "ggml_backend_dev_by_type": (_P, (C.c_int,)),
    "ggml_backend_dev_init": (_P, (_P, C.c_char_p)),
    "ggml_backend_dev_buffer_type": (_P, (_P,)),
    "ggml_backend_free": (None, (_P,)),
    "ggml_backend_alloc_ctx_tensors_from_buft": (_P, (_P, _P)),
    "ggml_backend_buffer_set_usage": (None, (_P, C.c_int)),
    "ggml_backend_buffer_free": (None, (_P,)),
    "ggml_backend_tensor_set": (None, (_P, _P, _SIZE, _SIZE)),
    "ggml_backend_tensor_get": (None, (_P, _P, _SIZE, _SIZE)),
    "ggml_backend_tensor_memset": (None, (_P, C.c_uint8, _SIZE, _SIZE)),
    "ggml_backend_name": (C.c_char_p, (_P,)),
    "ggml_backend_sched_new": (_P, (C.POINTER(_P), _P, C.c_int, _SIZE, C.c_bool, C.c_bool)),
    "ggml_backend_sched_free": (None, (_P,)),
    "ggml_backend_sched_alloc_graph": (C.c_bool, (_P, _P)),
    "ggml_backend_sched_graph_compute": (C.c_int, (_P, _P)),
    "ggml_backend_sched_get_tensor_backend": (_P, (_P, _P)),
    # operations
    "ggml_mul_mat": (_P, (_P,) * 3),
    "ggml_mul_mat_id": (_P, (_P,) * 4),
    "ggml_get_rows": (_P, (_P,) * 3),
    "ggml_add": (_P, (_P,) * 3),
    "ggml_mul": (_P, (_P,) * 3),
    "ggml_scale": (_P, (_P, _P, C.c_float)),
    "ggml_rms_norm": (_P, (_P, _P, C.c_float)),
    "ggml_swiglu_split": (_P, (_P,) * 3),
    "ggml_geglu_split": (_P, (_P,) * 3),
    "ggml_rope_ext": (_P, (*(_P,) * 4, *(C.c_int,) * 3, *(C.c_float,) * 6)),
    "ggml_cast": (_P, (_P, _P, C.c_int)),
    "ggml_permute": (_P, (_P, _P, *(C.c_int,) * 4)),
    "ggml_reshape_3d": (_P, (_P, _P, *(_I64,) * 3)),
    "ggml_view_2d": (_P, (_P, _P, *(_I64,) * 2, *(_SIZE,) * 2)),
    "ggml_view_4d": (_P, (_P, _P, *(_I64,) * 4, *(_SIZE,) * 4)),
}


@functools.cache
def ggml() -> Any:
    """Returns the functions above with their declarations. The libraries are opened anew: ctypes keeps declarations by handle."""
    libraries = [C.CDLL(str(library_dir() / f"lib{name}.so")) for name in ("ggml-base", "ggml")]
    found: dict[str, Any] = {}
    for name, (result, arguments) in _FUNCTIONS.items():
        function = next(getattr(library, name) for library in libraries if hasattr(library, name))
        function.restype, function.argtypes = result, arguments
        found[name.removeprefix("ggml_")] = function
    return type("Ggml", (), {name: staticmethod(function) for name, function in found.items()})


class Graph:
    """Weights, inputs and operations on them. Tensors are handles; shapes have the fastest dimension first, as in ggml."""

    def __init__(self) -> None:
        g = ggml()
        names = ("LLMCORE", "LLMCORE_WEIGHTS")
        devices = [*(g.backend_dev_by_name(name.encode()) for name in names), g.backend_dev_by_type(0)]
        assert all(devices), "kernels are in use first"
        self._weights_type = g.backend_dev_buffer_type(devices[1])
        self._backends = [g.backend_dev_init(device, None) for device in devices]
        handles = (_P * len(devices))(*self._backends)
        self._sched = g.backend_sched_new(handles, None, len(devices), _GRAPH_SIZE, False, True)
        self._contexts = [g.init(_InitParams(1 << 20, None, True)) for _ in range(2)]
        self._buffer: int | None = None
        self._inputs: list[tuple[int, npt.NDArray[np.generic]]] = []
        self._weights: list[tuple[int, npt.NDArray[np.generic]]] = []

    def __enter__(self) -> Graph:
        return self

    def __exit__(self, *_: object) -> None:
        g = ggml()
        g.backend_sched_free(self._sched)
        if self._buffer:
            g.backend_buffer_free(self._buffer)
        for context in self._contexts:
            g.free(context)
        for backend in self._backends:
            g.backend_free(backend)

    def _tensor(self, context: int, kind: str, shape: tuple[int, ...]) -> int:
        return int(ggml().new_tensor(context, NUMBERS[kind], len(shape), (_I64 * len(shape))(*shape)))

    def weight(self, kind: str, shape: tuple[int, ...], data: npt.NDArray[np.generic] | None = None) -> int:
        """Creates a tensor in a buffer of packed weights. Without `data`, the caller sets it after place()."""
        tensor = self._tensor(self._contexts[0], kind, shape)
        if data is not None:
            self._weights.append((tensor, data))
        return tensor

    def input(self, kind: str, data: npt.NDArray[np.generic]) -> int:
        tensor = self._tensor(self._contexts[1], kind, tuple(reversed(data.shape)))
        ggml().set_input(tensor)
        self._inputs.append((tensor, data))
        return tensor

    def place(self) -> None:
        """Allocates the weights and sets those that have data."""
        g = ggml()
        self._buffer = g.backend_alloc_ctx_tensors_from_buft(self._contexts[0], self._weights_type)
        g.backend_buffer_set_usage(self._buffer, _WEIGHTS)
        for tensor, data in self._weights:
            assert data.nbytes == g.nbytes(tensor)
            self.set(tensor, data)

    def set(self, tensor: int, data: npt.NDArray[np.generic], offset: int = 0) -> None:
        whole = np.ascontiguousarray(data)
        ggml().backend_tensor_set(tensor, whole.ctypes.data, offset, whole.nbytes)

    def get(self, tensor: int, offset: int = 0, size: int | None = None) -> Bytes:
        out = np.zeros(ggml().nbytes(tensor) - offset if size is None else size, np.uint8)
        ggml().backend_tensor_get(tensor, out.ctypes.data, offset, out.nbytes)
        return out

    def op(self, name: str, *arguments: float | None) -> int:
        return int(getattr(ggml(), name)(self._contexts[1], *arguments))

    def compute(self, *results: int) -> list[Floats]:
        """Computes the graph and returns the values of each result as a flat array."""
        g = ggml()
        if self._buffer is None:
            self.place()
        graph = g.new_graph(self._contexts[1])
        for result in results:
            g.set_output(result)
            g.build_forward_expand(graph, result)
        assert g.backend_sched_alloc_graph(self._sched, graph)
        for tensor, data in self._inputs:
            self.set(tensor, data)
        assert g.backend_sched_graph_compute(self._sched, graph) == 0
        return [self.get(result).view(np.float32) for result in results]

    def backend_of(self, tensor: int) -> str:
        """Name of the backend that the tensor was computed on."""
        return str(ggml().backend_name(ggml().backend_sched_get_tensor_backend(self._sched, tensor)).decode())
