// Where the time of graphs goes, by operation, when somebody asks: as thread 0 sees it, waiting included.
#pragma once

#include "ggml.h"

#include <string>
#include <vector>

namespace lc::kernels {

class Profile {
public:
    explicit Profile(int ith);

    void add(const ggml_tensor * node) {
        if (is_on) {
            since.push_back(node);
        }
    }

    // The time since the last lap belongs to the operations added since, in equal parts.
    void lap();

private:
    const bool is_on;
    double     last = 0.0;
    std::vector<const ggml_tensor *> since;
};

// Begins anew.
void profile_start();

// Ends, and tells: {"MUL_MAT 8192x2048 q4_K": {"calls": n, "seconds": s}, ...}.
std::string profile_stop();

} // namespace lc::kernels
