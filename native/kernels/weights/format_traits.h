// All that a weight format is. FormatTraits<F> has, for one format:
//
//   FORMAT                       F
//   BITS                         bits of a quant, which is unsigned: 0 .. 2^BITS - 1
//   N_SCALES                     scales of a column in a block: 1, or 2 for k < 16 and k >= 16
//   HAS_MIN, ZERO_POINT          weight = scale * (quant - ZERO_POINT), minus the column's min if HAS_MIN
//   GgmlTypes                    the types that are packed to the format, by their blocks
//   PackedBlock                  the layout of 16 columns times 32 values of k, with the members
//                                scales[N_SCALES][16] and, if HAS_MIN, mins[16], in f16
//   pack, unpack                 one column's block into a PackedBlock that was zero before, and back
//   load_quants<S>               for the int8 products: quants as vectors of bytes. S: a trait class of isa/simd
//   to_bf16<T>                   for the AMX product: the whole block as a tile of bf16. T: Bf16TileWriter (bf16_gemm_dequantize.h)
//
// Products are templates over a FormatTraits<F> and know nothing else of a format. To add one: write its specialization in a file of
// its own, include that here and name the format in AllFormats (README.md, "Add a quantization type").
#pragma once

#include "kernels/weights/format_w4.h"
#include "kernels/weights/format_w5.h"
#include "kernels/weights/format_w6.h"
#include "kernels/weights/format_w8.h"

namespace lc::kernels {
namespace {

template <Format... Fs> struct FormatList {};

using AllFormats = FormatList<Format::w4, Format::w5, Format::w6, Format::w8>;

template <typename Visit, Format... Fs> LC_INLINE bool visit_format_in(FormatList<Fs...>, Format format, const Visit & visit) {
    return ((format == Fs && (visit(FormatTraits<Fs>()), true)) || ...);
}

template <class F, typename Visit, typename... Blocks>
LC_INLINE bool visit_block_in(BlockList<Blocks...>, ggml_type type, const Visit & visit) {
    return ((type == GgmlBlock<Blocks>::TYPE && (visit(F(), GgmlBlock<Blocks>()), true)) || ...);
}

template <typename Visit, Format... Fs> LC_INLINE bool visit_type_in(FormatList<Fs...>, ggml_type type, const Visit & visit) {
    return (visit_block_in<FormatTraits<Fs>>(typename FormatTraits<Fs>::GgmlTypes(), type, visit) || ...);
}

// Calls visit(FormatTraits<format>()). Returns false, without a call, for Format::none.
template <typename Visit> LC_INLINE bool visit_format(Format format, const Visit & visit) {
    return visit_format_in(AllFormats(), format, visit);
}

// Calls visit(FormatTraits<F>(), GgmlBlock<Block>()) for the type's format and block. Returns false, without a call, for a type that is
// not packed.
template <typename Visit> LC_INLINE bool visit_ggml_type(ggml_type type, const Visit & visit) {
    return visit_type_in(AllFormats(), type, visit);
}

} // namespace
} // namespace lc::kernels
