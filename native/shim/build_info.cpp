// Description of this build: versions, compiler and BLAS.
#include "build_config.h"
#include "shim/json_text.h"
#include "shim/llmcore.h"

#include <dlfcn.h>

#include <string>

namespace {

// Returns OpenBLAS's description of itself ("OpenBLAS 0.3.34 DYNAMIC_ARCH ... SkylakeX"), or "" while OpenBLAS is not loaded
// (in a build with loadable backends it is loaded later).
std::string openblas_config() {
    for (const char * name : {LC_BLAS_FILE, "libopenblas.so.0"}) {
        if (*name == '\0') {
            return "";
        }
        void * library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
        if (library == nullptr) {
            continue;
        }
        using get_config_t           = const char * (*)();
        const auto        get_config = reinterpret_cast<get_config_t>(dlsym(library, LC_BLAS_PREFIX "openblas_get_config"));
        const std::string config     = get_config != nullptr ? get_config() : "";
        dlclose(library);
        return config;
    }
    return "";
}

std::string build_info() {
    const std::string source = LC_BLAS_SOURCE;
    return std::string("{") + "\"llama_cpp\": " + lc::json_quote(llama_version()) +
        ", \"llama_cpp_commit\": " + lc::json_quote(LC_LLAMA_COMMIT) + ", \"compiler\": " + lc::json_quote(LC_COMPILER) +
        ", \"cpu_build\": " + lc::json_quote(LC_CPU_BUILD) + ", \"blas\": {\"built\": " + (source.empty() ? "false" : "true") +
        ", \"source\": " + lc::json_quote(source) + "}, \"openblas_config\": " + lc::json_quote(openblas_config()) + "}";
}

} // namespace

const char * lc_build_info(void) {
    // One string per thread, rebuilt by each call because OpenBLAS may have been loaded since the last one.
    try {
        static thread_local std::string text;
        text = build_info();
        return text.c_str();
    } catch (...) {
        return "{}";
    }
}
