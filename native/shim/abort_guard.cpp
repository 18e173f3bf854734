// Every log line and abort of llama.cpp passes here: to the callbacks, and to the AbortGuard of the thread if it has one.
#include "shim/abort_guard.h"

#include "shim/error.h"

#include <cstdlib>
#include <exception>

namespace lc {
namespace {

// Set once, when the library is loaded, before any other call.
lc_log_callback        log_callback       = nullptr;
lc_abort_callback      abort_callback     = nullptr;
std::terminate_handler previous_terminate = nullptr;

thread_local AbortGuard * current_guard = nullptr;

constexpr size_t MAX_ERROR_BYTES = 2048;

// Returns the message without the build machine's path: "llama-vocab.cpp:3443: GGML_ASSERT(...) failed".
const char * without_folder(const char * message) {
    const char * name = message;
    for (const char * c = message; *c != '\0' && *c != ':'; c++) {
        name = *c == '/' ? c + 1 : name;
    }
    return name;
}

void on_abort(const char * message) {
    message = without_folder(message);
    if (current_guard != nullptr) {
        throw NativeAbort(message);
    }
    if (abort_callback != nullptr) {
        abort_callback(message);
    }
}

// Reports an exception that nothing catches, most likely from a llama.cpp function that llmcore/llama/ffi binds directly.
void on_terminate() {
    if (abort_callback != nullptr) {
        try {
            if (const std::exception_ptr error = std::current_exception()) {
                std::rethrow_exception(error);
            }
            abort_callback("std::terminate was called");
        } catch (const std::exception & error) {
            abort_callback(error.what());
        } catch (...) {
            abort_callback("an exception that is not a std::exception");
        }
    }
    if (previous_terminate != nullptr) {
        previous_terminate();
    }
    std::abort();
}

} // namespace

void on_log(ggml_log_level level, const char * text, void * user) {
    if (current_guard != nullptr) {
        AbortGuard & guard = *current_guard;
        if (guard.stop_ != nullptr && __atomic_load_n(guard.stop_, __ATOMIC_RELAXED) != 0) {
            guard.stop_ = nullptr; // so that destructors may log while the exception passes
            throw StoppedByCaller();
        }
        if (level != GGML_LOG_LEVEL_CONT) {
            guard.is_error_line_ = level == GGML_LOG_LEVEL_ERROR;
        }
        if (guard.is_error_line_) {
            guard.keep_error(text);
        }
        if (guard.logging_ == AbortGuard::LOG_QUIETLY) {
            return;
        }
    }
    if (log_callback != nullptr) {
        log_callback(level, text, user);
    }
}

AbortGuard::AbortGuard(Logging logging, const int32_t * stop) noexcept : previous_(current_guard), logging_(logging), stop_(stop) {
    current_guard = this;
}

AbortGuard::~AbortGuard() {
    current_guard = previous_;
}

void AbortGuard::keep_error(const char * text) {
    errors_ += text;
    if (errors_.size() > MAX_ERROR_BYTES) {
        errors_.erase(0, errors_.size() - MAX_ERROR_BYTES);
    }
}

std::string AbortGuard::reason(const char * otherwise) const {
    const size_t end = errors_.find_last_not_of(" \n");
    return end == std::string::npos ? otherwise : errors_.substr(0, end + 1);
}

} // namespace lc

void lc_set_callbacks(lc_log_callback log, lc_abort_callback abort) {
    lc::log_callback   = log;
    lc::abort_callback = abort;
    llama_log_set(lc::on_log, nullptr);
    ggml_set_abort_callback(lc::on_abort);
    if (lc::previous_terminate == nullptr) {
        lc::previous_terminate = std::set_terminate(lc::on_terminate);
    }
}

bool lc_abort_if_set(void * flag) {
    // volatile: another thread sets the flag while the step runs.
    return *static_cast<const volatile bool *>(flag);
}
