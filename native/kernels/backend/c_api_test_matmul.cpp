// Matrix products by themselves, for tests.
#include "shim/error.h"
#include "kernels/matmul/matmul.h"
#include "kernels/backend/single_op.h"

namespace {

using namespace lc::kernels;

void require_product(int level, int type, int64_t k, int64_t n_cols, int64_t n_rows, int n_threads) {
    lc::require(level > 0 && level_runs(static_cast<Level>(level)), "level: does not run on this machine");
    lc::require(type >= 0 && type < GGML_TYPE_COUNT && format_of(static_cast<ggml_type>(type)) != Format::none,
                "type: has no packed format");
    lc::require(k >= 1 && k % ggml_blck_size(static_cast<ggml_type>(type)) == 0, "k: must be a multiple of the type's block");
    lc::require(n_cols >= 1, "n_cols: must be at least 1");
    lc::require(n_rows >= 1, "n_rows: must be at least 1");
    lc::require(n_threads >= 1, "n_threads: must be at least 1");
}

void multiply(Level level, const MatMul & product, int n_threads) {
    const AlignedBytes scratch = aligned_bytes(matmul_scratch(level, product, n_threads));
    run_team(n_threads, scratch.get(), [&](const Team & team) { matmul(level, product, team); });
}

} // namespace

lc_status lc_kernels_matmul(int level, int type, int64_t k, int64_t n_cols, int64_t n_rows, const void * rows, const float * x,
                            float * y, int n_threads) {
    return lc::guard([&] {
        require_product(level, type, k, n_cols, n_rows, n_threads);
        lc::require(rows != nullptr && x != nullptr && y != nullptr, "rows, x, y: must not be NULL");
        const auto    ggml     = static_cast<ggml_type>(type);
        const Format  format   = format_of(ggml);
        const int64_t n_groups = (n_cols + GROUP - 1) / GROUP;
        const AlignedBytes packed = aligned_bytes(static_cast<size_t>(packed_bytes(format, k, n_cols)));
#pragma omp parallel for num_threads(n_threads)
        for (int64_t group = 0; group < n_groups; group++) {
            pack(ggml, rows, k, n_cols, group, group + 1, packed.get());
        }
        multiply(static_cast<Level>(level), MatMul{format, packed.get(), k, n_cols, n_rows, x, k, y, n_cols}, n_threads);
    });
}
