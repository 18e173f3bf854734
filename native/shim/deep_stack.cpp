#include "shim/deep_stack.h"

#include <pthread.h>

#include <cstdint>
#include <exception>
#include <stdexcept>

// In libllama-common: native/fixes/bounded_jinja.h.
struct llmcore_jinja_allowance {
    uint64_t  units;
    uint64_t  containers;
    uintptr_t stack_end;
};
extern "C" llmcore_jinja_allowance llmcore_jinja_allow(llmcore_jinja_allowance allowance);

namespace lc {

namespace {

// Templates may use a quarter of it; the rest is for freeing lists that lie in each other.
constexpr size_t STACK_BYTES     = 64 * 1024 * 1024;
constexpr size_t RENDERING_BYTES = STACK_BYTES / 4;

// A unit is about 10 ns, or 8 bytes. Templates that are in use need below 1 million for a short chat.
constexpr uint64_t UNITS          = 30'000'000;
constexpr uint64_t UNITS_PER_BYTE = 100;
constexpr uint64_t CONTAINERS     = 150'000;

constexpr llmcore_jinja_allowance NO_LIMIT = { UINT64_MAX, UINT64_MAX, 0 };

struct task {
    const std::function<void()> & body;
    std::exception_ptr            failure;
};

void * run(void * argument) {
    task & given = *static_cast<task *>(argument);
    try {
        given.body();
    } catch (...) {
        given.failure = std::current_exception();
    }
    return nullptr;
}

} // namespace

void on_deep_stack(const std::function<void()> & body) {
    task           given = { body, nullptr };
    pthread_attr_t attributes;
    pthread_t      thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    const int status = pthread_create(&thread, &attributes, run, &given);
    pthread_attr_destroy(&attributes);
    if (status != 0) {
        throw std::runtime_error("no thread can be started for the chat template");
    }
    pthread_join(thread, nullptr);
    if (given.failure != nullptr) {
        std::rethrow_exception(given.failure);
    }
}

void render_bounded(size_t n_bytes, const std::function<void()> & body) {
    on_deep_stack([&] {
        const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
        llmcore_jinja_allow({ UNITS + UNITS_PER_BYTE * n_bytes, CONTAINERS + n_bytes, here - RENDERING_BYTES });
        std::exception_ptr failure;
        try {
            body();
        } catch (...) {
            failure = std::current_exception();
        }
        if (llmcore_jinja_allow(NO_LIMIT).units == 0) {
            throw std::runtime_error("it takes more time, memory or nesting than a template may");
        }
        if (failure != nullptr) {
            std::rethrow_exception(failure);
        }
    });
}

} // namespace lc
