// Failures at the C boundary: a status and a message per thread, never an exception.
#pragma once

#include "shim/llmcore.h"

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace lc {

// An argument of the caller is wrong. Becomes LC_ERR_INVALID; every other exception becomes LC_ERR_NATIVE or LC_ERR_NO_MEMORY.
struct InvalidArgument : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The message that lc_last_error() returns on this thread.
void set_error(const char * message) noexcept;
void clear_error() noexcept;

// Returns a copy of `text` for the caller, who frees it with lc_string_free().
char * copy_string(const std::string & text);

// Throws InvalidArgument if `ok` is false.
inline void require(bool ok, const char * message) {
    if (!ok) {
        throw InvalidArgument(message);
    }
}

// Turns the exception that is being handled into a status, and stores its message.
lc_status status_of_current_exception() noexcept;

// Runs `body` and returns its status; no exception passes.
template <typename Body> lc_status guard(Body && body) noexcept {
    try {
        body();
        return LC_OK;
    } catch (...) {
        return status_of_current_exception();
    }
}

// Runs `body`, which returns a new handle, and returns that; NULL if it throws.
template <typename Body> auto guard_new(Body && body) noexcept -> decltype(body()) {
    try {
        return body();
    } catch (...) {
        status_of_current_exception();
        return nullptr;
    }
}

} // namespace lc
