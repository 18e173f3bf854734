// Rendering of chat templates within bounds. A template comes with a model file and may recurse deeply or loop without end.
#pragma once

#include <cstddef>
#include <functional>

namespace lc {

// Runs `body`, which renders templates for a request of n_bytes, on a thread with a large stack and with a budget of time, memory
// and nesting, and waits for it. Rethrows what `body` throws. Throws std::runtime_error if the budget was exceeded, even if `body`
// caught that exception itself.
void render_bounded(size_t n_bytes, const std::function<void()> & body);

} // namespace lc
