// The kernels' part of the C ABI.
#include "buffer.h"
#include "device.h"
#include "profile.h"

#include "../error.h"
#include "../json_text.h"

#include <mutex>
#include <string>

using lc::kernels::Level;

namespace {

std::mutex use_mutex;

} // namespace

int32_t lc_kernels_best(void) {
    return static_cast<int32_t>(lc::kernels::level_best());
}

const char * lc_kernels_level_name(int32_t level) {
    return level < 0 || level >= lc::kernels::N_LEVELS ? "" : lc::kernels::level_name(static_cast<Level>(level));
}

bool lc_kernels_runs(int32_t level) {
    return level >= 0 && level < lc::kernels::N_LEVELS && lc::kernels::level_runs(static_cast<Level>(level));
}

lc_status lc_kernels_use(int32_t level, int32_t n_threads) {
    return lc::guard([&] {
        lc::require(level >= 0 && level < lc::kernels::N_LEVELS, "level: no such level of kernels");
        lc::require(n_threads > 0, "n_threads: must be at least 1");
        lc::require(lc::kernels::level_runs(static_cast<Level>(level)), "level: this CPU does not have its instructions");
        const std::lock_guard<std::mutex> lock(use_mutex);
        lc::kernels::devices_use(static_cast<Level>(level), n_threads);
    });
}

int32_t lc_kernels_used(void) {
    return static_cast<int32_t>(lc::kernels::devices_level());
}

uint64_t lc_kernels_packed_bytes(void) {
    return lc::kernels::packed_buffers_bytes();
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
