// The kernels' part of the C ABI. Its `level` is the number of an instruction set (isa.h).
#include "kernels/attention/attention.h"
#include "kernels/backend/device.h"
#include "kernels/backend/isa_argument.h"
#include "kernels/backend/packed_buffer.h"
#include "kernels/backend/profile.h"

#include "shim/error.h"
#include "shim/json_text.h"

#include "ggml-cpp.h"

#include <mutex>
#include <string>

using lc::kernels::Isa;

namespace {

std::mutex use_mutex;

} // namespace

int32_t lc_kernels_best(void) {
    return static_cast<int32_t>(lc::kernels::best_isa());
}

bool lc_kernels_runs(int32_t level) {
    return lc::kernels::isa_runs(static_cast<Isa>(level));
}

lc_status lc_kernels_use(int32_t level, int32_t n_threads) {
    return lc::guard([&] {
        const Isa isa = lc::kernels::require_isa(level);
        lc::require(n_threads > 0, "n_threads: must be at least 1");
        const std::lock_guard<std::mutex> lock(use_mutex);
        lc::kernels::devices_use(isa, n_threads);
    });
}

int32_t lc_kernels_used(void) {
    return static_cast<int32_t>(lc::kernels::devices_isa());
}

bool lc_kernels_attends(int64_t k_length, int64_t v_length, int32_t k_type, int32_t v_type) {
    const Isa  isa      = lc::kernels::devices_isa();
    const bool is_known = k_type >= 0 && k_type < GGML_TYPE_COUNT && v_type >= 0 && v_type < GGML_TYPE_COUNT;
    if (isa == Isa::none || !is_known || k_length <= 0 || v_length <= 0) {
        return false;
    }
    const auto type_k = static_cast<ggml_type>(k_type), type_v = static_cast<ggml_type>(v_type);
    if (k_length % ggml_blck_size(type_k) != 0 || v_length % ggml_blck_size(type_v) != 0) {
        return false;
    }
    const ggml_context_ptr ctx(ggml_init({8 * ggml_tensor_overhead(), nullptr, true}));
    constexpr int64_t      CELLS = 256;
    ggml_tensor *          q     = ggml_new_tensor_3d(ctx.get(), GGML_TYPE_F32, k_length, 1, 1);
    ggml_tensor *          k     = ggml_new_tensor_3d(ctx.get(), type_k, k_length, CELLS, 1);
    ggml_tensor *          v     = ggml_new_tensor_3d(ctx.get(), type_v, v_length, CELLS, 1);
    ggml_tensor *          mask  = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F16, CELLS, 1);
    return lc::kernels::attention_supported(isa, ggml_flash_attn_ext(ctx.get(), q, k, v, mask, 1.0f, 0.0f, 0.0f));
}

uint64_t lc_kernels_packed_bytes(void) {
    return lc::kernels::packed_bytes_in_use();
}

uint64_t lc_kernels_unpacked_bytes(void) {
    return lc::kernels::unpacked_bytes_read();
}

void lc_kernels_profile_start(void) {
    lc::kernels::profile_start();
}

lc_status lc_kernels_profile_stop(char ** out) {
    return lc::guard([&] {
        lc::require(out != nullptr, "out: must not be NULL");
        *out = lc::copy_string(lc::kernels::profile_stop());
    });
}
