#include "shim/error.h"

#include <cstdlib>
#include <cstring>

namespace {

// A fixed buffer: storing a message must not allocate, because the failure may be std::bad_alloc.
thread_local char last_error[4096] = "";

} // namespace

namespace lc {

void set_error(const char * message) noexcept {
    if (message == nullptr || *message == '\0') {
        message = "unknown error";
    }
    const size_t room = sizeof(last_error) - 1;
    size_t       size = std::strlen(message);
    if (size > room) {
        // Cut before the first byte of a character, so that the message stays valid UTF-8, and marked as cut.
        static const char cut[] = " [...]";
        size                    = room - (sizeof(cut) - 1);
        while (size > 0 && (static_cast<unsigned char>(message[size]) & 0xC0) == 0x80) {
            size--;
        }
        std::memmove(last_error, message, size);
        std::memcpy(last_error + size, cut, sizeof(cut));
        return;
    }
    std::memmove(last_error, message, size);
    last_error[size] = '\0';
}

char * copy_string(const std::string & text) {
    char * copy = static_cast<char *>(std::malloc(text.size() + 1));
    if (copy == nullptr) {
        throw std::bad_alloc();
    }
    std::memcpy(copy, text.c_str(), text.size() + 1);
    return copy;
}

lc_status status_of_current_exception() noexcept {
    try {
        throw;
    } catch (const InvalidArgument & e) {
        set_error(e.what());
        return LC_ERR_INVALID;
    } catch (const std::bad_alloc &) {
        set_error("out of memory");
        return LC_ERR_NO_MEMORY;
    } catch (const std::exception & e) {
        set_error(e.what());
        return LC_ERR_NATIVE;
    } catch (...) {
        set_error("llama.cpp threw an object that is not a std::exception");
        return LC_ERR_NATIVE;
    }
}

void clear_error() noexcept {
    last_error[0] = '\0';
}

} // namespace lc

const char * lc_last_error(void) {
    return last_error;
}

void lc_string_free(char * s) {
    std::free(s);
}
