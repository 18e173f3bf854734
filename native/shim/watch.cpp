// llama.cpp's log and its aborts: told to Python, kept for the message of a failure, and turned into exceptions where a guard is.
#include "shim/watch.h"

#include "shim/error.h"

#include <cstdlib>
#include <exception>

namespace lc {
namespace {

// Set once, when the library is loaded, before any other call.
lc_log_callback        log_line     = nullptr;
lc_abort_callback      abort_line   = nullptr;
std::terminate_handler on_terminate = nullptr;

thread_local abort_guard * current = nullptr;

constexpr size_t kept_bytes = 2048;

// "llama-vocab.cpp:3443: GGML_ASSERT(...) failed" of a message that begins with the whole path of the build machine.
const char * without_folder(const char * message) {
    const char * name = message;
    for (const char * c = message; *c != '\0' && *c != ':'; c++) {
        name = *c == '/' ? c + 1 : name;
    }
    return name;
}

void on_abort(const char * message) {
    message = without_folder(message);
    if (current != nullptr) {
        throw native_abort(message);
    }
    if (abort_line != nullptr) {
        abort_line(message);
    }
}

// An exception that nobody catches, most likely of a function of llama.cpp that is called directly.
void terminate() {
    if (abort_line != nullptr) {
        try {
            if (const std::exception_ptr error = std::current_exception()) {
                std::rethrow_exception(error);
            }
            abort_line("std::terminate was called");
        } catch (const std::exception & error) {
            abort_line(error.what());
        } catch (...) {
            abort_line("an exception that is no std::exception");
        }
    }
    if (on_terminate != nullptr) {
        on_terminate();
    }
    std::abort();
}

} // namespace

void keep_error(const char * text) {
    std::string & errors = current->errors_;
    errors += text;
    if (errors.size() > kept_bytes) {
        errors.erase(0, errors.size() - kept_bytes);
    }
}

void on_log(ggml_log_level level, const char * text, void * user) {
    if (current != nullptr) {
        if (current->stop_ != nullptr && __atomic_load_n(current->stop_, __ATOMIC_RELAXED) != 0) {
            current->stop_ = nullptr;  // lines that are written while the exception passes go through
            throw stopped();
        }
        if (level != GGML_LOG_LEVEL_CONT) {
            current->continues_ = level == GGML_LOG_LEVEL_ERROR;
        }
        if (current->continues_) {
            keep_error(text);
        }
        if (current->quiet_) {
            return;
        }
    }
    if (log_line != nullptr) {
        log_line(level, text, user);
    }
}

abort_guard::abort_guard(bool quiet, const int32_t * stop) noexcept : previous_(current), quiet_(quiet), stop_(stop) {
    current = this;
}

abort_guard::~abort_guard() {
    current = previous_;
}

std::string abort_guard::reason(const char * otherwise) const {
    const size_t end = errors_.find_last_not_of(" \n");
    return end == std::string::npos ? otherwise : errors_.substr(0, end + 1);
}

} // namespace lc

void lc_set_callbacks(lc_log_callback log, lc_abort_callback abort) {
    lc::log_line   = log;
    lc::abort_line = abort;
    llama_log_set(lc::on_log, nullptr);
    ggml_set_abort_callback(lc::on_abort);
    if (lc::on_terminate == nullptr) {
        lc::on_terminate = std::set_terminate(lc::terminate);
    }
}
