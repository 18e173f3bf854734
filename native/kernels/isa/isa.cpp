#include "kernels/isa/isa.h"

namespace lc::kernels {
namespace {

// NULL for a number that is not in ISAS.
const IsaInfo * find_isa(int32_t number) {
    for (const IsaInfo & info : ISAS) {
        if (static_cast<int32_t>(info.isa) == number) {
            return &info;
        }
    }
    return nullptr;
}

const IsaInfo * find_isa(Isa isa) {
    return find_isa(static_cast<int32_t>(isa));
}

} // namespace

bool is_isa(int32_t number) {
    return find_isa(number) != nullptr;
}

const char * isa_name(Isa isa) {
    const IsaInfo * info = find_isa(isa);
    return info != nullptr ? info->name : "none";
}

Features isa_features(Isa isa) {
    const IsaInfo * info = find_isa(isa);
    return info != nullptr ? info->features : NO_FEATURES;
}

bool isa_runs(Isa isa) {
    const IsaInfo * info = find_isa(isa);
    return info != nullptr && has_all(machine_features(), info->features);
}

Isa best_isa() {
    for (const IsaInfo & info : ISAS) {
        if (isa_runs(info.isa)) {
            return info.isa;
        }
    }
    return Isa::none;
}

} // namespace lc::kernels
