#include "kernels/matmul/calibrate.h"

#include "kernels/backend/single_op.h"
#include "kernels/matmul/matmul.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <vector>

namespace lc::kernels {

namespace {

// A matrix of a small model's size. The formats differ less than the two products do: one stands for all.
constexpr int64_t K = 1024, N_COLS = 2048;
constexpr Format  FORMAT   = Format::w4;
constexpr int64_t ROWS[]   = {4, 8, 12, 16, 20, 24, 32, 48};
constexpr int64_t MAX_ROWS = ROWS[sizeof(ROWS) / sizeof(*ROWS) - 1];
constexpr int64_t NEVER    = std::numeric_limits<int64_t>::max();
constexpr int     REPEATS  = 3;

double seconds(const MatMul & m, uint8_t * scratch, int n_threads) {
    double best = std::numeric_limits<double>::max();
    for (int i = 0; i <= REPEATS; i++) {
        const auto begin = std::chrono::steady_clock::now();
        run_team(n_threads, scratch, [&](const ThreadTeam & team) { matmul(Isa::amx, m, team); });
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        best                                     = std::min(best, took.count());
    }
    return best;
}

size_t scratch_bytes(const MatMul & m, int n_threads) {
    set_amx_min_rows(1);
    const size_t with_amx = matmul_scratch(Isa::amx, m, n_threads);
    set_amx_min_rows(NEVER);
    return std::max(with_amx, matmul_scratch(Isa::amx, m, n_threads));
}

// Compares the two products from many rows to few, as long as AMX is faster.
int64_t find_amx_min_rows(MatMul m, uint8_t * scratch, int n_threads) {
    int64_t min_rows = NEVER;
    for (auto rows = std::rbegin(ROWS); rows != std::rend(ROWS); ++rows) {
        m.n_rows = *rows;
        set_amx_min_rows(NEVER);
        const double int8_seconds = seconds(m, scratch, n_threads);
        set_amx_min_rows(1);
        if (seconds(m, scratch, n_threads) >= int8_seconds) {
            break;
        }
        min_rows = *rows;
    }
    return min_rows;
}

} // namespace

void calibrate(Isa isa, int n_threads) {
    static bool is_done = false;
    if (isa != Isa::amx || is_done) {
        return;
    }
    is_done                         = true;
    const int64_t      weight_bytes = packed_bytes(FORMAT, K, N_COLS);
    const AlignedBytes weights      = aligned_bytes(static_cast<size_t>(weight_bytes));
    std::fill_n(weights.get(), weight_bytes, uint8_t{0});
    const std::vector<float> x(K * MAX_ROWS, 1.0f);
    std::vector<float>       y(N_COLS * MAX_ROWS);
    const MatMul             m{FORMAT, weights.get(), K, N_COLS, MAX_ROWS, x.data(), K, y.data(), N_COLS};
    const AlignedBytes       scratch = aligned_bytes(scratch_bytes(m, n_threads));
    set_amx_min_rows(find_amx_min_rows(m, scratch.get(), n_threads));
}

} // namespace lc::kernels
