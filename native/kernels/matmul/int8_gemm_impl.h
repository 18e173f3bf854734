// The integer kernels' templates, for the file of each level. A level's traits `S`:
//   I, V               vectors of 32-bit integers (or 64 or 32 bytes) and of floats, LANES of them
//   Sum                a sum of products: begin(start), step<F>(sum, j, w, q) for words j = 0.. of 4 values, total(sum)
//   SIGNED8            step() takes w8's weights without their offset of 128
//   ROWS               rows that one pass over the weights serves at most
//   ROWS_WHOLE         rows that a pass over the whole group serves at most; for more, a pass takes a part of its columns
// Everything is local to the file: the linker must not take one level's code for another's.
#pragma once

#include "kernels/matmul/int8_gemm_quantize.h"

namespace lc::kernels {
namespace {

// How far ahead weights are asked for, in bytes. Measured, one row from memory: 1.3 KB 20.5 GB/s, 5 KB 23.3, 10 KB 21.9.
inline constexpr int64_t PREFETCH = 5120;

template <Format F> struct Record {
    static constexpr int64_t BYTES  = record_bytes(F);
    static constexpr int     UPPER  = 256;  // w5, w6
    static constexpr int     SCALES = F == Format::w8 ? 512 : F == Format::w6 ? 384 : F == Format::w5 ? 320 : 256;
    static constexpr int     LINES  = (BYTES + 63) / 64;
};

LC_INLINE int word_of(const int8_t * q) {
    int word;
    memcpy(&word, q, sizeof word);
    return word;
}

// --- One group of columns, R rows -----------------------------------------------------------------------------------

// Words 2 * line and 2 * line + 1 of all columns of the part (w8: the same of its lines), as unsigned bytes.
template <class S, Format F>
LC_INLINE void unpack_line(const uint8_t * record, int line, int part, typename S::I * low, typename S::I * high) {
    constexpr int STEP = S::LANES * 4;
    if constexpr (F == Format::w8) {
        *low  = S::load(record + 128 * line + STEP * part);
        *high = S::load(record + 128 * line + 64 + STEP * part);
        if constexpr (S::SIGNED8) {
            *low  = S::flip_sign(*low);
            *high = S::flip_sign(*high);
        }
        return;
    }
    const typename S::I both = S::load(record + 64 * line + STEP * part);
    *low  = S::low_nibbles(both);
    *high = S::high_nibbles(both);
    if constexpr (F == Format::w5) {
        const uint8_t * bits = record + Record<F>::UPPER + 16 * line + S::LANES / 2 * part;
        *low  = S::add_fifth(*low, bits);
        *high = S::add_fifth(*high, bits + 8);
    }
    if constexpr (F == Format::w6) {
        const typename S::I upper = S::load(record + Record<F>::UPPER + 64 * (line / 2) + STEP * part);
        *low  = line % 2 == 0 ? S::template add_upper<0>(*low, upper) : S::template add_upper<2>(*low, upper);
        *high = line % 2 == 0 ? S::template add_upper<1>(*high, upper) : S::template add_upper<3>(*high, upper);
    }
}

// Adds LINES lines from `first` on to the sums of R rows and P parts.
template <class S, Format F, int R, int P, int LINES>
LC_INLINE void dot_lines(const uint8_t * record, int first, int part, const Quants * x, typename S::Sum (*sums)[P]) {
#pragma GCC unroll 4
    for (int l = 0; l < LINES; l++) {
        typename S::I low[P];
        typename S::I high[P];
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) {
            unpack_line<S, F>(record, first + l, part + p, &low[p], &high[p]);
        }
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
            for (int p = 0; p < P; p++) {
                S::template step<F>(sums[r][p], 2 * l, low[p], x[r].q + 8 * (first + l));
            }
#pragma GCC unroll 2
            for (int p = 0; p < P; p++) {
                S::template step<F>(sums[r][p], 2 * l + 1, high[p], x[r].q + 8 * (first + l) + 4);
            }
        }
    }
}

// Adds a block's products to out[row][part].
template <class S, Format F, int R, int P>
LC_INLINE void add_block(const uint8_t * record, int part, const Quants * x, typename S::V (*out)[P]) {
    constexpr int   HALVES = F == Format::w6 ? 2 : 1;
    const uint8_t * scales = record + Record<F>::SCALES + 2 * S::LANES * part;
#pragma GCC unroll 2
    for (int half = 0; half < HALVES; half++) {
        typename S::Sum sums[R][P];
#pragma GCC unroll 16
        for (int i = 0; i < R * P; i++) {
            if constexpr (F == Format::w6 || (F == Format::w8 && !S::SIGNED8)) {
                S::begin(sums[i / P][i % P], &x[i / P].starts[half]);
            } else {
                S::begin(sums[i / P][i % P]);
            }
        }
        dot_lines<S, F, R, P, 4 / HALVES>(record, 4 / HALVES * half, part, x, sums);
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) {
            const typename S::V scale = S::halves(scales + 32 * half + 2 * S::LANES * p);
#pragma GCC unroll 16
            for (int r = 0; r < R; r++) {
                out[r][p] = S::fma(S::to_floats(S::total(sums[r][p])), S::mul(scale, S::all(&x[r].scale)), out[r][p]);
            }
        }
    }
    if constexpr (F == Format::w4 || F == Format::w5) {
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) {
            const typename S::V min = S::halves(scales + 32 + 2 * S::LANES * p);
#pragma GCC unroll 16
            for (int r = 0; r < R; r++) {
                out[r][p] = S::fma(min, S::all(&x[r].shift), out[r][p]);
            }
        }
    }
}

// P parts of the group's columns from `part` on.
template <class S, Format F, int R, int P>
LC_INLINE void run_parts(const uint8_t * records, int64_t n_blocks, const Quants * x, int part, float * y, int64_t y_stride,
                         int n_cols) {
    typename S::V out[R][P];
#pragma GCC unroll 16
    for (int i = 0; i < R * P; i++) {
        out[i / P][i % P] = S::zero();
    }
    for (int64_t b = 0; b < n_blocks; b++) {
        const uint8_t * record = records + b * Record<F>::BYTES;
#pragma GCC unroll 9
        for (int line = 0; line < Record<F>::LINES; line++) {
            _mm_prefetch(reinterpret_cast<const char *>(record + PREFETCH + 64 * line), _MM_HINT_T0);
        }
        add_block<S, F, R, P>(record, part, x + b * R, out);
    }
#pragma GCC unroll 16
    for (int i = 0; i < R * P; i++) {
        const int column = S::LANES * (part + i % P);
        S::store(y + i / P * y_stride + column, out[i / P][i % P], n_cols - column);
    }
}

// One group of columns (n_cols of its 16 exist) times R rows, whose quants alternate: block b of row r is x[b * R + r].
template <class S, Format F, int R>
static __attribute__((noinline)) void run_group(const uint8_t * records, int64_t n_blocks, const Quants * x, float * y,
                                                int64_t y_stride, int n_cols) {
    constexpr int PARTS = static_cast<int>(GROUP) / S::LANES;
    // All columns in one pass read weights and activations once; half of them leave registers for more rows.
    constexpr int P = R <= S::ROWS_WHOLE ? PARTS : 1;
    for (int part = 0; part < PARTS; part += P) {
        run_parts<S, F, R, P>(records, n_blocks, x, part, y, y_stride, n_cols);
    }
}

using RunGroup = void (*)(const uint8_t *, int64_t, const Quants *, float *, int64_t, int);

template <class S, Format F> LC_INLINE RunGroup group_kernel(int64_t rows) {
    static constexpr RunGroup kernels[8] = {
        run_group<S, F, 1>, run_group<S, F, S::ROWS < 2 ? 1 : 2>, run_group<S, F, S::ROWS < 3 ? 1 : 3>,
        run_group<S, F, S::ROWS < 4 ? 1 : 4>, run_group<S, F, S::ROWS < 5 ? 1 : 5>, run_group<S, F, S::ROWS < 6 ? 1 : 6>,
        run_group<S, F, S::ROWS < 7 ? 1 : 7>, run_group<S, F, S::ROWS < 8 ? 1 : 8>,
    };
    return kernels[rows - 1];
}

// --- The whole product ----------------------------------------------------------------------------------------------

inline constexpr int64_t CHUNK_BYTES = 192 * 1024;  // of weights: stays in L2 while the tiles of rows pass
inline constexpr int64_t TAKE_QUANTS = 64;

template <class S, Format F> LC_INLINE const Quants * quantized(const MatMul & m, const Tiles & tiles, const Team & team) {
    const int64_t n   = m.n_rows * (m.k / BLOCK);
    Quants *      out = reinterpret_cast<Quants *>(team.scratch);
    if (rows_private(m, team.nth)) {
        out += team.ith * n;
        quantize_range<F>(m, tiles, 0, n, out);
        return out;
    }
    for (int64_t i = team_take(team, 0, TAKE_QUANTS); i < n; i = team_take(team, 0, TAKE_QUANTS)) {
        quantize_range<F>(m, tiles, i, i + TAKE_QUANTS < n ? i + TAKE_QUANTS : n, out);
    }
    team_barrier(team);
    return out;
}

// Groups begin..end-1 times all rows of tiles tile_first..tile_end-1.
template <class S, Format F>
static void run_chunk(const MatMul & m, const Tiles & tiles, const Quants * x, int64_t begin, int64_t end, int64_t tile_first,
                      int64_t tile_end) {
    const int64_t n_blocks = m.k / BLOCK;
    for (int64_t tile = tile_first; tile < tile_end; tile++) {
        const int64_t  row    = tile_begin(tiles, tile);
        const RunGroup kernel = group_kernel<S, F>(tile_begin(tiles, tile + 1) - row);
        for (int64_t group = begin; group < end; group++) {
            const int64_t left = m.n_cols - group * GROUP;
            kernel(static_cast<const uint8_t *>(m.weights) + group * n_blocks * Record<F>::BYTES, n_blocks, x + row * n_blocks,
                   m.y + row * m.y_stride + group * GROUP, m.y_stride, static_cast<int>(left < GROUP ? left : GROUP));
        }
    }
}

// What a thread takes at once: a chunk of groups, few enough that every thread comes several times and that they stay in
// L2, times all rows, or a slice of them where there are not chunks enough for all threads.
struct Shares {
    int64_t chunk;
    int64_t n_chunks;
    int64_t n_slices;
};

LC_INLINE Shares shares_of(int64_t n_groups, int64_t group_bytes, int64_t n_tiles, int64_t most) {
    const int64_t fit    = CHUNK_BYTES / group_bytes;
    const int64_t share  = (n_groups + most - 1) / most;
    const int64_t lower  = share < fit ? share : fit;
    const int64_t chunk  = lower > 1 ? lower : 1;
    const int64_t chunks = (n_groups + chunk - 1) / chunk;
    const int64_t slices = (most + chunks - 1) / chunks;
    return {chunk, chunks, slices < n_tiles ? slices : n_tiles};
}

// All rows in one pass over the weights.
template <class S, Format F> LC_INLINE void run_brief(const MatMul & m, const Tiles & tiles, const Quants * x, const Team & team) {
    const int64_t n_groups = (m.n_cols + GROUP - 1) / GROUP;
    const int64_t own      = rows_own_groups(n_groups, team.nth);
    run_chunk<S, F>(m, tiles, x, own * team.ith, own * (team.ith + 1), 0, 1);
    const int64_t first = own * team.nth;
    const int64_t share = (n_groups - first) / (4 * team.nth);
    const int64_t chunk = share > 1 ? share : 1;
    for (int64_t i = first + team_take(team, 1, chunk); i < n_groups; i = first + team_take(team, 1, chunk)) {
        run_chunk<S, F>(m, tiles, x, i, i + chunk < n_groups ? i + chunk : n_groups, 0, 1);
    }
}

template <class S, Format F> static void run(const MatMul & m, const Team & team) {
    const Tiles    tiles    = tiles_of(m.n_rows, S::ROWS);
    const Quants * x        = quantized<S, F>(m, tiles, team);
    const int64_t  n_groups = (m.n_cols + GROUP - 1) / GROUP;
    if (tiles.n == 1) {
        return run_brief<S, F>(m, tiles, x, team);
    }
    const Shares   shares   = shares_of(n_groups, m.k / BLOCK * Record<F>::BYTES, tiles.n, 4 * team.nth);
    const int64_t  n        = shares.n_chunks * shares.n_slices;
    for (int64_t i = team_take(team, 1, 1); i < n; i = team_take(team, 1, 1)) {
        const int64_t begin = i / shares.n_slices * shares.chunk;
        const int64_t end   = begin + shares.chunk < n_groups ? begin + shares.chunk : n_groups;
        const int64_t slice = i % shares.n_slices;
        run_chunk<S, F>(m, tiles, x, begin, end, slice * tiles.n / shares.n_slices, (slice + 1) * tiles.n / shares.n_slices);
    }
}

template <class S> LC_INLINE void run_format(const MatMul & m, const Team & team) {
    switch (m.format) {
        case Format::w4:   return run<S, Format::w4>(m, team);
        case Format::w5:   return run<S, Format::w5>(m, team);
        case Format::w6:   return run<S, Format::w6>(m, team);
        case Format::w8:   return run<S, Format::w8>(m, team);
        case Format::none: return;
    }
}

} // namespace
} // namespace lc::kernels
