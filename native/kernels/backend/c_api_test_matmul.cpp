// One matrix product on plain arrays, for tests.
#include "kernels/backend/isa_argument.h"
#include "kernels/backend/single_op.h"
#include "kernels/matmul/matmul.h"

#include "shim/error.h"

namespace {

using namespace lc::kernels;

void require_product(int type, int64_t k, int64_t n_cols, int64_t n_rows, int n_threads) {
    lc::require(type >= 0 && type < GGML_TYPE_COUNT && format_of(static_cast<ggml_type>(type)) != Format::none,
                "type: has no packed format");
    lc::require(k >= 1 && k % ggml_blck_size(static_cast<ggml_type>(type)) == 0, "k: must be a multiple of the type's block");
    lc::require(n_cols >= 1, "n_cols: must be at least 1");
    lc::require(n_rows >= 1, "n_rows: must be at least 1");
    lc::require(n_threads >= 1, "n_threads: must be at least 1");
}

void multiply(Isa isa, const MatMul & product, int n_threads) {
    const AlignedBytes scratch = aligned_bytes(matmul_scratch(isa, product, n_threads));
    run_team(n_threads, scratch.get(), [&](const ThreadTeam & team) { matmul(isa, product, team); });
}

} // namespace

lc_status lc_kernels_matmul(int level, int type, int64_t k, int64_t n_cols, int64_t n_rows, const void * rows, const float * x,
                            float * y, int n_threads) {
    return lc::guard([&] {
        const Isa isa = require_isa(level);
        lc::require(isa != Isa::none, "level: must not be 0");
        require_product(type, k, n_cols, n_rows, n_threads);
        lc::require(rows != nullptr && x != nullptr && y != nullptr, "rows, x, y: must not be NULL");
        const auto         ggml     = static_cast<ggml_type>(type);
        const Format       format   = format_of(ggml);
        const int64_t      n_panels = panels_of(n_cols);
        const AlignedBytes packed   = aligned_bytes(static_cast<size_t>(packed_bytes(format, k, n_cols)));
#pragma omp parallel for num_threads(n_threads)
        for (int64_t panel = 0; panel < n_panels; panel++) {
            pack(ggml, rows, k, n_cols, panel, panel + 1, packed.get());
        }
        multiply(isa, MatMul{format, packed.get(), k, n_cols, n_rows, x, k, y, n_cols}, n_threads);
    });
}
