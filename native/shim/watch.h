// Errors and aborts of llama.cpp while it works for a thread; such aborts need not end the process.
#pragma once

#include "ggml.h"

#include <stdexcept>
#include <string>

namespace lc {

// ggml_abort() on a thread that has an abort_guard. The message names the source line and the condition.
struct native_abort : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The caller has asked for an end of the work.
struct stopped : std::runtime_error {
    stopped() : std::runtime_error("stopped by the caller") {}
};

// While one lives, ggml_abort() on this thread throws native_abort instead of ending the process, and the thread's error lines are
// kept. Only for work that stays on the calling thread and whose objects are thrown away after a failure: loading, creating a context,
// tokenizing. Never around a step: an exception cannot leave a parallel region.
class abort_guard {
  public:
    // `quiet`: the thread's log lines go nowhere else. `stop`: once this is not 0, the thread's next log line throws stopped.
    explicit abort_guard(bool quiet = false, const int32_t * stop = nullptr) noexcept;
    ~abort_guard();

    abort_guard(const abort_guard &)             = delete;
    abort_guard & operator=(const abort_guard &) = delete;

    // The last lines that were logged as errors, or `otherwise`.
    std::string reason(const char * otherwise) const;

  private:
    friend void keep_error(const char * text);
    friend void on_log(ggml_log_level level, const char * text, void * user);

    abort_guard *   previous_;
    bool            quiet_;
    const int32_t * stop_;
    bool            continues_ = false;  // a line that was begun as an error
    std::string     errors_;
};

} // namespace lc
