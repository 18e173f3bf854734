// Force-included into the files of llama-common only (native/cmake/Fixes.cmake).
//
// A chat template is a program that comes with a model file, and llama.cpp runs it without limits: range(10**9), a macro that
// calls itself, or a string that is doubled repeatedly uses up memory or stack. Here the interpreter's work is counted where it
// tests a value's type (is_val) and where it makes a value (mk_val), in units of about 10 ns or 8 bytes. Rendering that exceeds
// its thread's allowance, or the allowed stack, throws. A thread that set no allowance has no limit.
#pragma once

#define is_val llmcore_is_val
#define mk_val llmcore_mk_val
#include "jinja/value.h"
#undef is_val
#undef mk_val

#include <cstdint>
#include <stdexcept>
#include <type_traits>

struct llmcore_jinja_spent : std::runtime_error {
    llmcore_jinja_spent() : std::runtime_error("it takes too much time or memory") {}
};

struct llmcore_jinja_allowance {
    uint64_t  units      = UINT64_MAX;
    uint64_t  containers = UINT64_MAX;  // lists and objects: they can nest, and are freed recursively
    uintptr_t stack_end  = 0;           // the stack may not grow below this address
};

// Sets this thread's allowance. Returns the rest of the previous one, with 0 units if it was exceeded. Defined in jinja/value.cpp.
extern "C" __attribute__((visibility("default"))) llmcore_jinja_allowance llmcore_jinja_allow(llmcore_jinja_allowance allowance);

extern __thread llmcore_jinja_allowance * llmcore_jinja_left;

namespace jinja {

inline void llmcore_spend(uint64_t units, uint64_t containers = 0) {
    llmcore_jinja_allowance * left = llmcore_jinja_left;
    if (left == nullptr) {
        return;
    }
    const auto stack = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    if (left->units < units || left->containers < containers || stack < left->stack_end) {
        left->units = 0;
        throw llmcore_jinja_spent();
    }
    left->units -= units;
    left->containers -= containers;
}

template <typename T, typename P> bool llmcore_counted_is_val(const P & value) {
    const bool found = llmcore_is_val<T>(value);
    uint64_t   units = 1;
    if constexpr (std::is_same_v<T, value_string>) {
        units += found ? value->val_str.length() / 4 : 0;  // the string is copied after this test
    }
    llmcore_spend(units);
    return found;
}

template <typename T> bool is_val(const value & value) {
    return llmcore_counted_is_val<T>(value);
}

template <typename T> bool is_val(const value_t * value) {
    return llmcore_counted_is_val<T>(value);
}

// Charges for a filter before it runs, because its result may be far larger than its arguments. Defined in jinja/value.cpp.
void llmcore_check_filter(const std::string & name, const func_args & args);

struct llmcore_checked_filter {
    std::string  name;
    func_handler filter;

    value operator()(const func_args & args) const {
        llmcore_check_filter(name, args);
        return filter(args);
    }
};

// True for filters whose result may be far larger than their arguments.
inline bool llmcore_is_amplifier(const std::string & name) {
    return name == "tojson" || name == "replace" || name == "indent" || name == "join" || name == "split" || name == "rsplit";
}

template <typename T, typename... Args> auto mk_val(Args &&... args) {
    constexpr bool is_container =
        std::is_same_v<T, value_array> || std::is_same_v<T, value_object> || std::is_same_v<T, value_tuple>;
    llmcore_spend(40, is_container ? 1 : 0);
    auto made = llmcore_mk_val<T>(std::forward<Args>(args)...);
    if constexpr (std::is_same_v<T, value_string>) {
        llmcore_spend(made->val_str.length() / 2);
    }
    if constexpr (std::is_same_v<T, value_func>) {
        if (llmcore_is_amplifier(made->name)) {
            made->val_func = llmcore_checked_filter{ made->name, std::move(made->val_func) };
        }
    }
    return made;
}

#ifdef LLMCORE_JINJA_HOME

// Returns how often `part` occurs in `text`.
inline size_t llmcore_count(const std::string & text, const std::string & part) {
    size_t n = 0;
    for (size_t at = part.empty() ? std::string::npos : text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) {
        n++;
    }
    return n;
}

// Charges for the indented JSON of a value: each line is indented by its depth.
inline void llmcore_spend_indented(const value & of, uint64_t indent, uint64_t depth) {
    llmcore_spend(1 + indent * depth / 8);
    for (const value & item : of->val_arr) {
        llmcore_spend_indented(item, indent, depth + 1);
    }
    for (const auto & pair : of->val_obj) {
        llmcore_spend_indented(pair.second, indent, depth + 1);
    }
}

inline std::string llmcore_text(const value & of) {
    return llmcore_is_val<value_string>(of) ? of->as_string().str() : "";
}

inline uint64_t llmcore_number(const value & of, uint64_t default_value) {
    return llmcore_is_val<value_int>(of) && of->as_int() > 0 ? static_cast<uint64_t>(of->as_int()) : default_value;
}

void llmcore_check_filter(const std::string & name, const func_args & args) {
    if (llmcore_jinja_left == nullptr || args.count() == 0) {
        return;
    }
    const value       input = args.get_pos(0);
    const std::string text  = llmcore_text(input);
    const value       none  = llmcore_mk_val<value_undefined>();
    constexpr uint64_t WIDEST = 1 << 20;
    if (name == "tojson") {
        const uint64_t indent = llmcore_number(args.get_kwarg_or_pos("indent", 2), 0);
        llmcore_spend(indent <= WIDEST ? 0 : UINT64_MAX);
        llmcore_spend_indented(input, indent, 1);
    } else if (name == "indent") {
        const value    width   = args.get_kwarg_or_pos("width", 1);
        const uint64_t n_wide  = llmcore_is_val<value_int>(width) ? llmcore_number(width, 0) : llmcore_text(width).size();
        const bool     is_sane = n_wide <= WIDEST && (!llmcore_is_val<value_int>(width) || width->as_int() >= 0);
        llmcore_spend(is_sane ? (llmcore_count(text, "\n") + 2) * n_wide / 8 : UINT64_MAX);
    } else if (name == "join") {
        llmcore_spend(input->val_arr.size() * (1 + llmcore_text(args.get_kwarg_or_pos("d", 1)).size() / 8));
    } else {  // replace, split, rsplit: each match moves the rest of the text
        const std::string part = llmcore_text(args.get_pos(1, none));
        const size_t      n    = name == "replace" && part.empty() ? text.size() + 1 : llmcore_count(text, part.empty() ? " " : part);
        const size_t      more = name == "replace" ? llmcore_text(args.get_pos(2, none)).size() : 0;
        llmcore_spend(n * more / 8);
        llmcore_spend(n * (text.size() + n * more) / 512);
    }
}

#endif

} // namespace jinja

#ifdef LLMCORE_JINJA_HOME

static thread_local llmcore_jinja_allowance llmcore_jinja_allowed;
__thread llmcore_jinja_allowance *          llmcore_jinja_left = nullptr;

extern "C" llmcore_jinja_allowance llmcore_jinja_allow(llmcore_jinja_allowance allowance) {
    const llmcore_jinja_allowance left = llmcore_jinja_allowed;
    llmcore_jinja_allowed              = allowance;
    llmcore_jinja_left                 = allowance.units == UINT64_MAX ? nullptr : &llmcore_jinja_allowed;
    return left;
}

#endif

#ifdef LLMCORE_JINJA_STRINGS
// In jinja/string.cpp: charges for each part of a string that is appended to another one.
#define push_back(part) push_back((jinja::llmcore_spend(4 + (part).val.size() / 4), part))
#endif
