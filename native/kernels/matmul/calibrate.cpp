#include "kernels/matmul/calibrate.h"

#include "kernels/matmul/matmul.h"
#include "kernels/backend/single_op.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <vector>

namespace lc::kernels {

namespace {

// A matrix of a small model's size; the types' formats differ less than the two kernels do.
constexpr int64_t K = 1024, N_COLS = 2048;
constexpr int64_t ROWS[] = {4, 8, 12, 16, 20, 24, 32, 48};
constexpr int     REPEATS = 3;

double seconds(const MatMul & m, uint8_t * scratch, int n_threads) {
    double best = std::numeric_limits<double>::max();
    for (int i = 0; i <= REPEATS; i++) {
        const auto begin = std::chrono::steady_clock::now();
        run_team(n_threads, scratch, [&](const Team & team) { matmul(Level::amx, m, team); });
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        best = std::min(best, took.count());
    }
    return best;
}

} // namespace

void calibrate(Level level, int n_threads) {
    static bool is_done = false;
    if (level != Level::amx || is_done) {
        return;
    }
    is_done = true;
    constexpr int64_t MANY = ROWS[sizeof(ROWS) / sizeof(*ROWS) - 1];
    constexpr int64_t NEVER = std::numeric_limits<int64_t>::max();
    constexpr int64_t WEIGHT_BYTES = packed_bytes(Format::w4, K, N_COLS);
    const AlignedBytes weights = aligned_bytes(WEIGHT_BYTES);
    std::fill_n(weights.get(), WEIGHT_BYTES, uint8_t{0});
    const std::vector<float> x(K * MANY, 1.0f);
    std::vector<float> y(N_COLS * MANY);
    MatMul m{Format::w4, weights.get(), K, N_COLS, MANY, x.data(), K, y.data(), N_COLS};
    matmul_set_amx_rows(1);
    size_t bytes = matmul_scratch(level, m, n_threads);
    matmul_set_amx_rows(NEVER);
    bytes = std::max(bytes, matmul_scratch(level, m, n_threads));
    const AlignedBytes scratch = aligned_bytes(bytes);
    int64_t from = NEVER;
    for (auto rows = std::rbegin(ROWS); rows != std::rend(ROWS); ++rows) {
        m.n_rows = *rows;
        matmul_set_amx_rows(NEVER);
        const double by_integers = seconds(m, scratch.get(), n_threads);
        matmul_set_amx_rows(1);
        if (seconds(m, scratch.get(), n_threads) >= by_integers) {
            break;
        }
        from = *rows;
    }
    matmul_set_amx_rows(from);
}

} // namespace lc::kernels
