#include "kernels/elementwise/row_ops_impl.h"

namespace lc::kernels {

const RowOps row_ops_avx512 = LC_ROW_OPS;

} // namespace lc::kernels
