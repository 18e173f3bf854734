// The kernels' part of the C ABI in builds without kernels: architectures other than x86-64, or no OpenMP.
#include "shim/error.h"

int32_t lc_kernels_best(void) {
    return 0;
}

bool lc_kernels_runs(int32_t level) {
    return level == 0;
}

lc_status lc_kernels_use(int32_t level, int32_t n_threads) {
    return lc::guard([&] {
        lc::require(level == 0, "level: this build has no kernels");
        lc::require(n_threads > 0, "n_threads: must be at least 1");
    });
}

int32_t lc_kernels_used(void) {
    return 0;
}

bool lc_kernels_attends(int64_t, int64_t, int32_t, int32_t) {
    return false;
}

uint64_t lc_kernels_packed_bytes(void) {
    return 0;
}

uint64_t lc_kernels_unpacked_bytes(void) {
    return 0;
}

void lc_kernels_profile_start(void) {}

lc_status lc_kernels_profile_stop(char ** out) {
    return lc::guard([&] {
        lc::require(out != nullptr, "out: must not be NULL");
        *out = lc::copy_string("{}");
    });
}

lc_status lc_kernels_attention(int32_t, int32_t, int32_t, int32_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                               const float *, const void *, const void *, const uint16_t *, const int32_t *, const float *, float,
                               float, float, float *) {
    return lc::guard([] { lc::require(false, "level: this build has no kernels"); });
}

lc_status lc_kernels_matmul(int, int, int64_t, int64_t, int64_t, const void *, const float *, float *, int) {
    return lc::guard([] { lc::require(false, "level: this build has no kernels"); });
}

double lc_kernels_bandwidth(int32_t) {
    return 0.0;
}

lc_status lc_kernels_flops(int32_t, char **) {
    return lc::guard([] { lc::require(false, "this build has no kernels"); });
}
