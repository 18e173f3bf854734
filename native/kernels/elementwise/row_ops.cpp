#include "kernels/elementwise/row_ops.h"

namespace lc::kernels {

const RowOps & row_ops(Level level) {
    return level >= Level::avx512 ? row_ops_avx512 : row_ops_avx2;
}

} // namespace lc::kernels
