// Runs what may recurse deeply, or without end, where it does no harm.
#pragma once

#include <cstddef>
#include <functional>

namespace lc {

// Runs `body` in a thread with a large stack, and waits for it. What it throws comes out here.
void on_deep_stack(const std::function<void()> & body);

// The same of a body that renders chat templates for a request of n_bytes: what the templates may do is bounded. Throws
// std::runtime_error where they go beyond that, whatever became of it in between.
void render_bounded(size_t n_bytes, const std::function<void()> & body);

} // namespace lc
