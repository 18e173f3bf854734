"""Compares each operation with the limits of the machine: a table, and a roofline plot of operations per second over operations
per byte. The time of attention is the difference between a step at depth and one without."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.kernel_figures import FLASH, OURS, PLAIN, SPLIT, Sizes, Turn
from benchmarks.limits import Limits
from benchmarks.markdown import markdown_table
from llmcore.gguf.header import GgufHeader
from llmcore.llama.attention_shape import attention_shape

LLAMA_CPP = "llama.cpp"
NOISE = 0.02  # of a step
_CELL_BYTES = 2  # f16


@dataclass(frozen=True)
class Operation:
    """One operation: its `flops`, and the `n_bytes` that are read from memory, in a step of `figure` minus one of `without`."""

    name: str
    figure: str
    without: str
    flops: float
    n_bytes: float

    def limit_s(self, limits: Limits) -> float:
        return max(self.n_bytes / limits.most_bytes_per_s, self.flops / limits.most_flops_per_s)

    def bound(self, limits: Limits) -> str:
        by_memory = self.n_bytes / limits.most_bytes_per_s > self.flops / limits.most_flops_per_s
        return "memory" if by_memory else "arithmetic"


def _per_layer(numbers: tuple[int, ...], n_layer: int) -> tuple[int, ...]:
    return numbers * n_layer if len(numbers) == 1 else numbers


def operations(header: GgufHeader, sizes: Sizes) -> tuple[Operation, ...]:
    """Operations of a model whose layers have the same attention (Llama and similar architectures); numbers of heads may differ."""
    arch = header.architecture
    n_layer = header.number(f"{arch}.block_count")
    heads = _per_layer(header.numbers(f"{arch}.attention.head_count"), n_layer)
    kv_heads = _per_layer(header.numbers(f"{arch}.attention.head_count_kv"), n_layer) or heads
    length = sum(attention_shape(header).pairs[0])  # of a key and a value
    matrices = [tensor for tensor in header.tensors if len(tensor.shape) == 2]
    if any(tensor.name == "output.weight" for tensor in matrices):  # otherwise the embeddings are the output matrix
        matrices = [tensor for tensor in matrices if tensor.name != "token_embd.weight"]
    n_weights, n_bytes = (sum(map(math.prod, (t.shape for t in matrices))), sum(t.size_bytes for t in matrices))
    cell_bytes = sum(kv_heads) * length * _CELL_BYTES
    cell_flops = 2 * sum(heads) * length
    n, short, deep, prefix, chunk = sizes.n_rows, sizes.short, sizes.deep, sizes.prefix, sizes.chunk
    more = prefix - short
    return (
        Operation("weights, 1 row", "decode", "", 2 * n_weights, n_bytes),
        Operation(f"weights, {n} rows", "rows", "", 2 * n_weights * n, n_bytes),
        Operation(f"weights, {chunk} rows", "prefill", "", 2 * n_weights * chunk, n_bytes),
        Operation(f"attention, 1 row × {deep}", "decode deep", "decode", cell_flops * deep, cell_bytes * deep),
        Operation(
            f"attention, {n} rows × {more} shared", "rows prefix", "rows", n * cell_flops * more, cell_bytes * more
        ),
        Operation(
            f"attention, {n} rows × {more} of their own",
            "rows own",
            "rows",
            n * cell_flops * more,
            n * cell_bytes * more,
        ),
        Operation(
            f"attention, {chunk} rows × {deep}", "prefill deep", "prefill", chunk * cell_flops * deep, cell_bytes * deep
        ),
    )


@dataclass(frozen=True)
class Point:
    operation: Operation
    side: str
    seconds: float


def points(turns: Sequence[Turn], what: Sequence[Operation]) -> list[Point]:
    """Points of our side, and of llama.cpp's fastest side and buffers; none for a difference that is smaller than noise."""
    found = []
    for operation in what:
        for side, names in ((OURS, (OURS,)), (LLAMA_CPP, (FLASH, PLAIN))):
            steps = [step for name in names for step in _steps(turns, name, operation)]
            whole, more = min(steps, default=(0.0, 0.0))
            if more > NOISE * whole:
                found.append(Point(operation, side, more))
    return found


def _steps(turns: Sequence[Turn], side: str, operation: Operation) -> Iterator[tuple[float, float]]:
    """Returns the seconds of the whole step and of the operation."""
    for suffix in ("", SPLIT):
        whole, without = (_median(turns, side, name + suffix) for name in (operation.figure, operation.without))
        if whole is not None and (without is not None or not operation.without):
            yield whole, whole - (without or 0.0)


def _median(turns: Sequence[Turn], side: str, name: str) -> float | None:
    found = [statistics.median(each.seconds[name]) for each in turns if each.side == side and name in each.seconds]
    return statistics.median(found) if found else None


def table(found: Sequence[Point], limits: Limits) -> str:
    by_operation: dict[Operation, dict[str, float]] = {}
    for each in found:
        by_operation.setdefault(each.operation, {})[each.side] = each.seconds
    rows = []
    for operation, seconds in by_operation.items():
        limit_s = operation.limit_s(limits)
        cells = [f"{operation.flops / operation.n_bytes:.0f}", operation.bound(limits), f"{limit_s * 1e3:.1f}"]
        for side in (OURS, LLAMA_CPP):
            cells.append(f"{seconds[side] * 1e3:.1f}, {limit_s / seconds[side]:.0%}" if side in seconds else "–")
        rows.append([operation.name, *cells])
    heads = [
        "operation",
        "operations a byte",
        "bound by",
        "limit, ms",
        "ours: ms, of the limit",
        f"{LLAMA_CPP}, the better",
    ]
    return markdown_table(heads, rows)


def told(limits: Limits) -> str:
    """Sentence with the limits of the machine."""
    reads = ", ".join(f"{rate / 1e9:.1f} GB/s ({n} thread{'s' * (n > 1)})" for n, rate in limits.bytes_per_s.items())
    rates = ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in limits.flops_per_s.items())
    return f"Measured limits: memory is read at {reads}; matrix products: {rates}."


# --- The plot ---------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 920, 520, 70, 250, 44, 50
_COLOURS = {OURS: "#1f4e79", LLAMA_CPP: "#c55a11"}


@dataclass(frozen=True)
class _Axes:
    """Logarithmic axes: powers of ten in [x0, x1] and [y0, y1]."""

    x0: int
    x1: int
    y0: int
    y1: int

    def x(self, value: float) -> float:
        return _LEFT + (math.log10(value) - self.x0) / (self.x1 - self.x0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (math.log10(value) - self.y0) / (self.y1 - self.y0) * (_HEIGHT - _TOP - _BOTTOM)


def svg(title: str, found: Sequence[Point], limits: Limits) -> str:
    """SVG document of the plot. x: operations per byte; y: GFLOP/s."""
    xs = [each.operation.flops / each.operation.n_bytes for each in found]
    ys = [each.operation.flops / each.seconds / 1e9 for each in found] + [limits.most_flops_per_s / 1e9]
    axes = _Axes(
        math.floor(math.log10(min(xs, default=1))),
        math.ceil(math.log10(max(xs, default=1000))) or 1,
        math.floor(math.log10(min(ys))),
        math.ceil(math.log10(max(ys))),
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="26" font-size="16">{escape(title)}</text>',
        *_grid(axes),
        *_roofs(axes, limits),
        *_marks(axes, found),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _grid(axes: _Axes) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for power in range(axes.x0, axes.x1 + 1):
        x = axes.x(10.0**power)
        yield f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{10.0**power:g}</text>'
    for power in range(axes.y0, axes.y1 + 1):
        y = axes.y(10.0**power)
        yield f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
    yield f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 12}" text-anchor="middle">operations a byte of memory</text>'
    yield f'<text x="16" y="{_HEIGHT / 2}" transform="rotate(-90 16 {_HEIGHT / 2})" text-anchor="middle">GFLOP/s</text>'


def _roofs(axes: _Axes, limits: Limits) -> Iterator[str]:
    """Lines of the limits: a slope for bytes per second, and a ceiling for each type that is multiplied."""
    slope = limits.most_bytes_per_s / 1e9
    for name, rate in limits.flops_per_s.items():
        ceiling, ridge = rate / 1e9, rate / limits.most_bytes_per_s
        corners = [(max(10.0**axes.x0, 10.0**axes.y0 / slope), 0.0), (ridge, ceiling), (10.0**axes.x1, ceiling)]
        corners[0] = (corners[0][0], corners[0][0] * slope)
        line = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in corners if x <= 10.0**axes.x1)
        yield f'<polyline points="{line}" fill="none" stroke="#666" stroke-width="1.5"/>'
        yield f'<text x="{_WIDTH - _RIGHT + 6}" y="{axes.y(ceiling) + 4:.1f}" fill="#666">{escape(name)} {ceiling:,.0f}</text>'


def _marks(axes: _Axes, found: Sequence[Point]) -> Iterator[str]:
    """Circles of the points, numbered as in the legend; ours are filled."""
    names = list(dict.fromkeys(each.operation.name for each in found))
    for each in found:
        x, y = axes.x(each.operation.flops / each.operation.n_bytes), axes.y(each.operation.flops / each.seconds / 1e9)
        colour, number = _COLOURS[each.side], names.index(each.operation.name) + 1
        fill = colour if each.side == OURS else "#fff"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
        ink = "#fff" if each.side == OURS else colour
        yield f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="11" fill="{ink}">{number}</text>'
    x = _WIDTH - _RIGHT + 6
    for i, name in enumerate(names):
        yield f'<text x="{x}" y="{_HEIGHT - _BOTTOM - 16 * (len(names) - i) - 24}" font-size="11">{i + 1} {escape(name)}</text>'
    for i, (side, colour) in enumerate(_COLOURS.items()):
        y = _HEIGHT - _BOTTOM - 16 + 18 * i
        fill = colour if side == OURS else "#fff"
        yield f'<circle cx="{x + 6}" cy="{y - 4}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
        yield f'<text x="{x + 18}" y="{y}">{side}</text>'


def write_plot(path: Path, title: str, found: Sequence[Point], limits: Limits) -> None:
    path.write_text(svg(title, found, limits), "utf-8")
