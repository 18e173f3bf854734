#include "kernels/elementwise/row_ops.h"

namespace lc::kernels {
namespace {

constexpr Variant<const RowOps *> VARIANTS[] = {{AVX2 | AVX512, &row_ops_avx512}, {AVX2, &row_ops_avx2}};

} // namespace

const RowOps & row_ops(Isa isa) {
    return *choose(VARIANTS, isa_features(isa));
}

} // namespace lc::kernels
