// How failures leave this library: a status and a message of the thread, never an exception.
#pragma once

#include "shim/llmcore.h"

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace lc {

// The caller's argument is wrong: becomes LC_ERR_INVALID. Everything else that is thrown becomes LC_ERR_NATIVE.
struct invalid_argument : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A draw finds no token that it may choose.
struct no_choice : std::runtime_error {
    no_choice() : std::runtime_error("no token can be chosen: the logits (with their bias) exclude every one") {}
};

// The model gave logits that are no numbers to draw by.
struct bad_logits : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void set_error(const char * message) noexcept;
void clear_error() noexcept;

// A copy that lc_string_free() frees.
char * copy_string(const std::string & text);

// Throws invalid_argument if `ok` is false.
inline void require(bool ok, const char * message) {
    if (!ok) {
        throw invalid_argument(message);
    }
}

// Turns the exception being handled into a status.
lc_status status_of_current_exception() noexcept;

// Runs `body`; nothing it throws gets past here.
template <typename Body> lc_status guard(Body && body) noexcept {
    try {
        body();
        return LC_OK;
    } catch (...) {
        return status_of_current_exception();
    }
}

// The same for constructors: `body` returns the new handle.
template <typename Body> auto guard_new(Body && body) noexcept -> decltype(body()) {
    try {
        return body();
    } catch (...) {
        status_of_current_exception();
        return nullptr;
    }
}

} // namespace lc
