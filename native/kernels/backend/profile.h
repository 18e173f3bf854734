// Time of graphs by operation, measured on thread 0 (with its waiting at barriers) between profile_start() and profile_stop().
#pragma once

#include "ggml.h"

#include <string>
#include <vector>

namespace lc::kernels {

class GraphProfile {
public:
    explicit GraphProfile(int ith);

    void add(const ggml_tensor * node) {
        if (is_on_) {
            since_last_lap_.push_back(node);
        }
    }

    // Divides the time since the last lap equally among the operations that were added since.
    void lap();

private:
    const bool                       is_on_;
    double                           last_lap_ = 0.0;
    std::vector<const ggml_tensor *> since_last_lap_;
};

// Forgets earlier measurements and begins to measure.
void profile_start();

// Stops measuring and returns JSON: {"MUL_MAT 8192x2048 q4_K": {"calls": n, "seconds": s}, ...}.
std::string profile_stop();

} // namespace lc::kernels
