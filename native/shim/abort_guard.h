// llama.cpp's log lines and aborts. An abort on a thread that has an AbortGuard becomes an exception instead of ending the process.
#pragma once

#include "ggml.h"

#include <cstdint>
#include <stdexcept>
#include <string>

namespace lc {

// ggml_abort() on a thread that has an AbortGuard. The message names the source line and the condition.
struct NativeAbort : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The caller set the guard's stop flag.
struct StoppedByCaller : std::runtime_error {
    StoppedByCaller() : std::runtime_error("stopped by the caller") {}
};

// While a guard lives, ggml_abort() on its thread throws NativeAbort, and the thread's error lines are kept for reason().
//
// Only for work that stays on the calling thread and whose objects are discarded after a failure: loading a model, creating a
// context, tokenizing. Never around a step, because an exception cannot leave an OpenMP parallel region.
class AbortGuard {
public:
    enum Logging { LOG, LOG_QUIETLY };

    // With LOG_QUIETLY the thread's log lines are kept for reason() only and do not reach the log callback. Once *stop is not 0,
    // the thread's next log line throws StoppedByCaller; `stop` may be NULL.
    explicit AbortGuard(Logging logging = LOG, const int32_t * stop = nullptr) noexcept;
    ~AbortGuard();

    AbortGuard(const AbortGuard &)             = delete;
    AbortGuard & operator=(const AbortGuard &) = delete;

    // Returns the last lines that were logged as errors, or `otherwise` if there were none.
    std::string reason(const char * otherwise) const;

private:
    friend void on_log(ggml_log_level level, const char * text, void * user);

    void keep_error(const char * text);

    AbortGuard *    previous_; // guards of a thread nest
    Logging         logging_;
    const int32_t * stop_;
    bool            is_error_line_ = false; // the current line, which GGML_LOG_LEVEL_CONT continues, is an error
    std::string     errors_;
};

} // namespace lc
