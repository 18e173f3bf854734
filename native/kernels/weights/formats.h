// The list of all weight formats. The only place that names them all: code that depends on the format is a template over
// FormatTraits<F> (format_traits.h) and is called through visit_format() or visit_ggml_type().
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

// Calls visit(FormatTraits<F>(), GgmlBlock<Block>()) for the type's format and block. Returns false, without a call, for a type
// that is not packed.
template <typename Visit> LC_INLINE bool visit_ggml_type(ggml_type type, const Visit & visit) {
    return visit_type_in(AllFormats(), type, visit);
}

} // namespace
} // namespace lc::kernels
