#include "chat/bounded_rendering.h"

#include <pthread.h>

#include <cstdint>
#include <exception>
#include <stdexcept>

// Defined in libllama-common by native/fixes/bounded_jinja.h.
struct llmcore_jinja_allowance {
    uint64_t  units;
    uint64_t  containers;
    uintptr_t stack_end;
};
extern "C" llmcore_jinja_allowance llmcore_jinja_allow(llmcore_jinja_allowance allowance);

namespace lc {

namespace {

// Rendering may use a quarter of the stack. The rest is for destructors: nested lists are freed recursively.
constexpr size_t STACK_BYTES     = 64 * 1024 * 1024;
constexpr size_t RENDERING_BYTES = STACK_BYTES / 4;

// A unit is about 10 ns, or 8 bytes. The templates of real models need less than 1 million for a short chat.
constexpr uint64_t UNITS          = 30'000'000;
constexpr uint64_t UNITS_PER_BYTE = 100;
constexpr uint64_t CONTAINERS     = 150'000;

constexpr llmcore_jinja_allowance NO_LIMIT = {UINT64_MAX, UINT64_MAX, 0};

struct ThreadArgument {
    const std::function<void()> & body;
    std::exception_ptr            exception;
};

void * run_thread(void * pointer) {
    ThreadArgument & argument = *static_cast<ThreadArgument *>(pointer);
    try {
        argument.body();
    } catch (...) {
        argument.exception = std::current_exception();
    }
    return nullptr;
}

// Runs `body` on a new thread with a large stack and waits for it. Rethrows what `body` throws.
void run_on_large_stack(const std::function<void()> & body) {
    ThreadArgument argument = {body, nullptr};
    pthread_attr_t attributes;
    pthread_t      thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    const int status = pthread_create(&thread, &attributes, run_thread, &argument);
    pthread_attr_destroy(&attributes);
    if (status != 0) {
        throw std::runtime_error("no thread can be started for the chat template");
    }
    pthread_join(thread, nullptr);
    if (argument.exception != nullptr) {
        std::rethrow_exception(argument.exception);
    }
}

} // namespace

void render_bounded(size_t n_bytes, const std::function<void()> & body) {
    run_on_large_stack([&] {
        const auto stack_begin = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
        llmcore_jinja_allow({UNITS + UNITS_PER_BYTE * n_bytes, CONTAINERS + n_bytes, stack_begin - RENDERING_BYTES});
        std::exception_ptr exception;
        try {
            body();
        } catch (...) {
            exception = std::current_exception();
        }
        if (llmcore_jinja_allow(NO_LIMIT).units == 0) {
            throw std::runtime_error("it takes more time, memory or nesting than a template may");
        }
        if (exception != nullptr) {
            std::rethrow_exception(exception);
        }
    });
}

} // namespace lc
