// Microkernels of blocked with AMX, on plain buffers. Included by attention_amx.cpp.
//
// Everything is transposed, so that 16 lines lie side by side in a vector and the softmax needs no sums across lanes: scores
// = K Q^T, output^T += V^T weights. An AMX tile is 16 rows of 64 bytes:
//
//   keys      [CELLS / 16][dk / 32] tiles   16 cells x 32 numbers, bf16
//   q         [line / 16][dk / 32] tiles    16 pairs of numbers x 16 lines, bf16
//   scores    [line / 16][CELLS / 16] tiles 16 cells x 16 lines, fp32
//   weights   [line / 16][CELLS / 32] tiles 16 pairs of cells x 16 lines, bf16; where the scores were
//   values    [dv / 16][CELLS / 32] tiles   16 numbers x 32 cells, bf16
//   sums      [line / 16][dv / 16] tiles    16 numbers x 16 lines, fp32
#pragma once

#include "kernels/attention/attention_blocked_kernels.h"
#include "kernels/isa/amx_tiles.h"

namespace lc::kernels {
namespace {

constexpr int64_t SCORE_BYTES = CELLS / 16 * TILE_BYTES; // of 16 lines
constexpr float   LOG2_E      = 1.44269504f;

// `low` as bf16 in the even places, `high` in the odd ones, rounded.
static inline __attribute__((always_inline)) __m512i interleave_bf16(__m512 low, __m512 high) {
    alignas(64) static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                   8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512bh                    both      = _mm512_cvtne2ps_pbh(high, low);
    return _mm512_permutexvar_epi16(_mm512_load_si512(order), reinterpret_cast<const __m512i &>(both));
}

// `first` as bf16 in the lower half, `second` in the upper half, rounded.
static inline __attribute__((always_inline)) __m512i concat_bf16(__m512 first, __m512 second) {
    const __m512bh both = _mm512_cvtne2ps_pbh(second, first);
    return reinterpret_cast<const __m512i &>(both);
}

// 2^x for x <= 0 with a relative error of 8e-5, where that of rounding to bf16 is 4e-3. 0 for minus infinity; NaN stays NaN.
static inline __attribute__((always_inline)) __m512 vector_exp2(__m512 x) {
    const __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512       p = _mm512_fmadd_ps(r, _mm512_set1_ps(0.0780243576f), _mm512_set1_ps(0.226067737f));
    p              = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.695833147f));
    p              = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.999925256f));
    return _mm512_scalef_ps(p, x);
}

// Packs the keys of CELLS cells.
template <class S, KvType T>
static void pack_key_tiles(const CellVectors & cells, const int32_t * cell, int64_t dk, uint8_t * out) {
    for (int64_t c = 0; c < CELLS; c++) {
        const uint8_t * key = cells.data + cell[c] * cells.step;
        prefetch_next(*cells.prefetch);
        uint8_t * row = out + c / 16 * (dk / 32) * TILE_BYTES + c % 16 * 64;
        for (int64_t d = 0; d < dk; d += 32, row += TILE_BYTES) {
            _mm512_store_si512(row, concat_bf16(load_kv<S, T>(key, d), load_kv<S, T>(key, d + 16)));
        }
    }
}

// Packs the values of CELLS cells, transposed. False if a value is infinite or NaN.
template <class S, KvType T>
static bool pack_value_tiles(const CellVectors & cells, const int32_t * cell, int64_t dv, uint8_t * out) {
    __m512 check = _mm512_setzero_ps();
    for (int64_t c = 0; c < CELLS; c += 32) {
        const uint8_t * value[32];
#pragma GCC unroll 1
        for (int64_t j = 0; j < 32; j++) {
            value[j] = cells.data + cell[c + j] * cells.step;
            prefetch_next(*cells.prefetch);
        }
        for (int64_t d = 0; d < dv; d += 16) {
            __m512 pairs[16];
#pragma GCC unroll 16
            for (int64_t j = 0; j < 16; j++) {
                const __m512 low  = load_kv<S, T>(value[2 * j], d);
                const __m512 high = load_kv<S, T>(value[2 * j + 1], d);
                check             = _mm512_fmadd_ps(low, _mm512_setzero_ps(), check);
                check             = _mm512_fmadd_ps(high, _mm512_setzero_ps(), check);
                pairs[j]          = _mm512_castsi512_ps(interleave_bf16(low, high));
            }
            S::transpose(pairs);
            float * tile = reinterpret_cast<float *>(out + (d / 16 * (CELLS / 32) + c / 32) * TILE_BYTES);
#pragma GCC unroll 16
            for (int64_t j = 0; j < 16; j++) {
                _mm512_store_ps(tile + 16 * j, pairs[j]);
            }
        }
    }
    return !S::any_nan(check);
}

// Packs 16 lines of dk numbers, transposed and times `scale`. NULL stands for zeros.
template <class S> static void pack_query_tiles(const float * const * q, int64_t dk, float scale, uint8_t * out) {
    const __m512 s = _mm512_set1_ps(scale);
    for (int64_t d = 0; d < dk; d += 32, out += TILE_BYTES) {
        __m512 words[16];
#pragma GCC unroll 16
        for (int64_t j = 0; j < 16; j++) {
            const __m512 low  = q[j] == nullptr ? _mm512_setzero_ps() : _mm512_mul_ps(_mm512_loadu_ps(q[j] + d), s);
            const __m512 high = q[j] == nullptr ? _mm512_setzero_ps() : _mm512_mul_ps(_mm512_loadu_ps(q[j] + d + 16), s);
            words[j]          = _mm512_castsi512_ps(concat_bf16(low, high));
        }
        S::transpose(words);
#pragma GCC unroll 16
        for (int64_t j = 0; j < 16; j++) {
            _mm512_store_ps(reinterpret_cast<float *>(out + 64 * j), words[j]);
        }
    }
}

// C = A B, or C += A B if `adds`, over tiles. *_rows and *_cols are strides in bytes from one tile to the next; along k, the tiles of
// A and of B are consecutive.
struct TileProduct {
    uint8_t *       c;
    int64_t         c_rows, c_cols;
    const uint8_t * a;
    int64_t         a_rows;
    const uint8_t * b;
    int64_t         b_cols;
    int64_t         n_k;
    int64_t         n_rows; // in tiles
    int64_t         n_cols; // in tiles: 1 or 2
    bool            adds;
};

// A queue of products that are computed in small steps between the steps of the softmax of other lines. So the tile unit and the
// vector units work at the same time, and the data that tiles are loaded from has left the store buffers, from which the CPU cannot
// forward it to a tile.
class TileWork {
public:
    void add(const TileProduct & p) { todo_[n_++] = p; }

    // Computes up to four products of tiles, if any are left.
    inline __attribute__((always_inline)) void step() {
        if (at_ == n_) {
            return;
        }
        TileProduct & p        = todo_[at_];
        const bool    two_rows = row_ + 2 <= p.n_rows;
        if (p.n_cols > 1) {
            two_rows ? multiply<2, 2>(p, k_) : multiply<1, 2>(p, k_);
        } else {
            two_rows ? multiply<2, 1>(p, k_) : multiply<1, 1>(p, k_);
        }
        if (++k_ < p.n_k) {
            return;
        }
        k_ = 0;
        row_ += 2;
        p.c += 2 * p.c_rows;
        p.a += 2 * p.a_rows;
        if (row_ >= p.n_rows) {
            row_ = 0;
            at_++;
        }
    }

    void finish() {
        while (at_ < n_) {
            step();
        }
        at_ = n_ = 0;
    }

private:
    template <int ROWS, int COLS> static inline __attribute__((always_inline)) void multiply(const TileProduct & p, int64_t k) {
        if (k == 0 && p.adds) {
            for_sums<ROWS, COLS>(p, [](auto sum, const uint8_t * c) { tile_load<decltype(sum)::TILE>(c, 64); });
        } else if (k == 0) {
            for_sums<ROWS, COLS>(p, [](auto sum, const uint8_t *) { tile_zero<decltype(sum)::TILE>(); });
        }
        const int64_t at_k = k * TILE_BYTES;
        tile_load<4>(p.a + at_k, 64);
        tile_load<6>(p.b + at_k, 64);
        tile_product<0, 4, 6>();
        if constexpr (COLS > 1) {
            tile_load<7>(p.b + p.b_cols + at_k, 64);
            tile_product<1, 4, 7>();
        }
        if constexpr (ROWS > 1) {
            tile_load<5>(p.a + p.a_rows + at_k, 64);
            tile_product<2, 5, 6>();
            if constexpr (COLS > 1) {
                tile_product<3, 5, 7>();
            }
        }
        if (k + 1 == p.n_k) {
            for_sums<ROWS, COLS>(p, [](auto sum, uint8_t * c) { tile_store<decltype(sum)::TILE>(c, 64); });
        }
    }

    template <int T> struct Sum {
        static constexpr int TILE = T;
    };

    // Calls of(tile register, address) for each tile of C.
    template <int ROWS, int COLS, class Of>
    static inline __attribute__((always_inline)) void for_sums(const TileProduct & p, Of of) {
        of(Sum<0>(), p.c);
        if constexpr (COLS > 1) {
            of(Sum<1>(), p.c + p.c_cols);
        }
        if constexpr (ROWS > 1) {
            of(Sum<2>(), p.c + p.c_rows);
            if constexpr (COLS > 1) {
                of(Sum<3>(), p.c + p.c_rows + p.c_cols);
            }
        }
    }

    TileProduct todo_[2];
    int64_t     n_ = 0, at_ = 0;  // products in the queue, and the current one
    int64_t     row_ = 0, k_ = 0; // of the current product
};

// Applies soft cap and mask to the scores of 16 lines, in place, and returns each line's maximum. scores and bias: [CELLS][16];
// bias may be NULL. On return scores are in units of log2(e); before, they are too, unless there is a soft cap.
template <class S> static __m512 apply_mask_and_max(float * scores, const float * bias, __m512 slope, float cap) {
    const __m512 none    = _mm512_set1_ps(-__builtin_inff());
    __m512       tops[4] = {none, none, none, none};
    if (cap == 0.0f && bias == nullptr) {
        for (int64_t c = 0; c < CELLS; c += 4) {
#pragma GCC unroll 4
            for (int64_t j = 0; j < 4; j++) {
                tops[j] = _mm512_max_ps(_mm512_load_ps(scores + 16 * (c + j)), tops[j]);
            }
        }
        return _mm512_max_ps(_mm512_max_ps(tops[0], tops[1]), _mm512_max_ps(tops[2], tops[3]));
    }
    for (int64_t c = 0; c < CELLS; c++) {
        __m512 x = _mm512_load_ps(scores + 16 * c);
        x        = cap != 0.0f ? _mm512_mul_ps(apply_soft_cap<S>(x, cap), _mm512_set1_ps(LOG2_E)) : x;
        x        = bias != nullptr ? add_mask<S>(x, _mm512_load_ps(bias + 16 * c), slope) : x;
        _mm512_store_ps(scores + 16 * c, x);
        tops[0] = _mm512_max_ps(x, tops[0]);
    }
    return tops[0];
}

// `low` as bf16 in the even places, `high` in the odd ones, truncated, which is faster than rounding. Truncation makes all weights
// smaller, but also their sum, which is that of the truncated weights, so the outputs are as exact as with rounded ones.
static inline __attribute__((always_inline)) __m512i interleave_truncated_bf16(__m512 low, __m512 high) {
    return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(_mm512_castps_si512(low), 16), _mm512_castps_si512(high));
}

// Replaces scores by weights in bf16, in place. Returns each line's sum of weights.
static inline __attribute__((always_inline)) __m512 scores_to_weights(float * scores, __m512 top, TileWork & work) {
    constexpr int64_t AT_ONCE = 8;
    const __m512i     ones    = _mm512_set1_epi16(0x3f80);
    __m512            sum     = _mm512_setzero_ps();
    __m512i *         out     = reinterpret_cast<__m512i *>(scores);
    for (int64_t i = 0; i < CELLS; i += AT_ONCE) {
        work.step();
#pragma GCC unroll 4
        for (int64_t c = i; c < i + AT_ONCE; c += 2) {
            const __m512  low   = vector_exp2(_mm512_sub_ps(_mm512_load_ps(scores + 16 * c), top));
            const __m512  high  = vector_exp2(_mm512_sub_ps(_mm512_load_ps(scores + 16 * (c + 1)), top));
            const __m512i pairs = interleave_truncated_bf16(low, high);
            sum = _mm512_dpbf16_ps(sum, reinterpret_cast<const __m512bh &>(pairs), reinterpret_cast<const __m512bh &>(ones));
            _mm512_store_si512(out + c / 2, pairs);
        }
    }
    return sum;
}

// State of 16 lines. `top` is a score (times log2(e)) that no score exceeds by much; sums and output are in units of 2^top.
struct TileState {
    float * top;
    float * sum;
    float * tiles;
};

// The online softmax of 16 lines x CELLS.
template <class S>
static void online_softmax_tile(float * scores, const float * bias, __m512 slope, float cap, int64_t dv, const TileState & s,
                                TileWork & work) {
    // Weights up to 2^8 are as exact as smaller ones, and the output need not be rescaled whenever a score is slightly higher.
    const __m512    room  = _mm512_set1_ps(8.0f);
    const __m512    none  = _mm512_set1_ps(-__builtin_inff());
    const __m512    old   = _mm512_loadu_ps(s.top);
    const __m512    top   = apply_mask_and_max<S>(scores, bias, slope, cap);
    __m512          from  = old;
    __m512          sum   = _mm512_loadu_ps(s.sum);
    const __mmask16 grown = _mm512_cmp_ps_mask(top, _mm512_add_ps(old, room), _CMP_NLE_UQ);
    if (grown != 0) {
        from                = _mm512_mask_mov_ps(old, grown, top);
        const __m512 factor = _mm512_mask_mov_ps(
            _mm512_set1_ps(1.0f), grown, vector_exp<S>(_mm512_mul_ps(_mm512_sub_ps(old, from), _mm512_set1_ps(1 / LOG2_E))));
        sum = _mm512_mul_ps(sum, factor);
        for (int64_t d = 0; d < dv; d++) {
            _mm512_store_ps(s.tiles + 16 * d, _mm512_mul_ps(_mm512_load_ps(s.tiles + 16 * d), factor));
        }
        _mm512_storeu_ps(s.top, from);
    }
    // For lines without a visible cell so far, any finite number serves.
    from = _mm512_mask_mov_ps(from, _mm512_cmp_ps_mask(from, none, _CMP_EQ_OQ), _mm512_setzero_ps());
    _mm512_storeu_ps(s.sum, _mm512_add_ps(sum, scores_to_weights(scores, from, work)));
}

} // namespace
} // namespace lc::kernels
