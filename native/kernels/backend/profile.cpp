#include "kernels/backend/profile.h"

#include "shim/json_text.h"

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>

namespace lc::kernels {

namespace {

struct OperationTime {
    int64_t calls   = 0;
    double  seconds = 0.0;
};

std::atomic<bool>                    is_profiling{false};
std::mutex                           sums_mutex;
std::map<std::string, OperationTime> sums;

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string name_of(const ggml_tensor * node) {
    std::string name = ggml_op_desc(node);
    if (node->op == GGML_OP_MUL_MAT) {
        const ggml_tensor * weights = node->src[0];
        name += " " + std::to_string(weights->ne[1]) + "x" + std::to_string(weights->ne[0]) + " " + ggml_type_name(weights->type);
    }
    return name;
}

} // namespace

GraphProfile::GraphProfile(int ith) : is_on_(ith == 0 && is_profiling) {
    if (is_on_) {
        last_lap_ = now();
    }
}

void GraphProfile::lap() {
    if (!is_on_) {
        return;
    }
    const double                      time = now();
    const std::lock_guard<std::mutex> lock(sums_mutex);
    for (const ggml_tensor * node : since_last_lap_) {
        OperationTime & sum = sums[name_of(node)];
        sum.calls++;
        sum.seconds += (time - last_lap_) / static_cast<double>(since_last_lap_.size());
    }
    since_last_lap_.clear();
    last_lap_ = time;
}

void profile_start() {
    const std::lock_guard<std::mutex> lock(sums_mutex);
    sums.clear();
    is_profiling = true;
}

std::string profile_stop() {
    is_profiling = false;
    const std::lock_guard<std::mutex> lock(sums_mutex);
    std::string                       out = "{";
    for (const auto & [name, sum] : sums) {
        out += out.size() > 1 ? ", " : "";
        out += json_quote(name) + ": {\"calls\": " + std::to_string(sum.calls) + ", \"seconds\": " + std::to_string(sum.seconds) +
            "}";
    }
    return out + "}";
}

} // namespace lc::kernels
