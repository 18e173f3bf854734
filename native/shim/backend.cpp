// The registry of ggml backends: loading them, switching BLAS on or off, listing them.
//
// ggml does not synchronize its registry, so the functions that change it may only be called before a model is loaded or a
// context is created.
#include "build_config.h"
#include "shim/error.h"
#include "shim/json_text.h"

#include "ggml-backend.h"

#include <dlfcn.h>

#include <mutex>
#include <string>

namespace {

std::mutex registry_mutex;

// Returns the BLAS backend, or NULL while none has been loaded. It is remembered because it leaves ggml's registry while BLAS is
// switched off.
ggml_backend_reg_t blas_registration() {
    static ggml_backend_reg_t known = nullptr;
    if (known == nullptr) {
        known = ggml_backend_reg_by_name("BLAS");
        // ggml closes the library of a backend that leaves the registry. Contexts may still point into it, and it could not be
        // registered again, so one more reference keeps it open for good.
        Dl_info info{};
        if (known != nullptr && dladdr(known, &info) != 0) {
            dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
        }
    }
    return known;
}

const char * type_name(ggml_backend_dev_t device) {
    switch (ggml_backend_dev_type(device)) {
        case GGML_BACKEND_DEVICE_TYPE_CPU:   return "CPU";
        case GGML_BACKEND_DEVICE_TYPE_GPU:   return "GPU";
        case GGML_BACKEND_DEVICE_TYPE_IGPU:  return "IGPU";
        case GGML_BACKEND_DEVICE_TYPE_ACCEL: return "ACCEL";
        default:                             return "OTHER";
    }
}

std::string devices_json(ggml_backend_reg_t reg) {
    std::string out = "[";
    for (size_t i = 0; i < ggml_backend_reg_dev_count(reg); i++) {
        ggml_backend_dev_t device = ggml_backend_reg_dev_get(reg, i);
        out += i > 0 ? ", " : "";
        out += "{\"name\": " + lc::json_quote(ggml_backend_dev_name(device)) +
            ", \"description\": " + lc::json_quote(ggml_backend_dev_description(device)) +
            ", \"type\": " + lc::json_quote(type_name(device)) + "}";
    }
    return out + "]";
}

std::string features_json(ggml_backend_reg_t reg) {
    const auto get_features = reinterpret_cast<ggml_backend_get_features_t>(
        ggml_backend_reg_get_proc_address(reg, "ggml_backend_get_features"));
    std::string out = "{";
    if (get_features != nullptr) {
        for (const ggml_backend_feature * f = get_features(reg); f != nullptr && f->name != nullptr; f++) {
            out += out.size() > 1 ? ", " : "";
            out += lc::json_quote(f->name) + ": " + lc::json_quote(f->value);
        }
    }
    return out + "}";
}

} // namespace

lc_status lc_backends_load(const char * dir) {
    return lc::guard([&] {
        lc::require(dir != nullptr, "dir: must not be NULL");
#ifdef GGML_BACKEND_DL
        const std::lock_guard<std::mutex> lock(registry_mutex);
        static bool                       loaded = false;
        if (loaded) {
            return;
        }
        ggml_backend_load_all_from_path(dir);
        if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) == nullptr) {
            throw std::runtime_error(std::string("no CPU backend in ") + dir + " runs on this machine");
        }
        loaded = true;
#endif
    });
}

lc_status lc_blas_enable(bool enabled) {
    return lc::guard([&] {
        const std::lock_guard<std::mutex> lock(registry_mutex);
        ggml_backend_reg_t                reg = blas_registration();
        if (reg == nullptr) {
            // Switching off a BLAS that is not there is not an error.
            lc::require(!enabled,
                        *LC_BLAS_SOURCE != '\0' ? "BLAS: its backend is not loaded (lc_backends_load)"
                                                : "BLAS: this build has none (-DLLMCORE_BLAS=scipy or system)");
        } else if (enabled) {
            ggml_backend_register(reg);
        } else {
            ggml_backend_unload(reg);
        }
    });
}

bool lc_blas_enabled(void) {
    return ggml_backend_reg_by_name("BLAS") != nullptr;
}

lc_status lc_backends_json(char ** out) {
    return lc::guard([&] {
        lc::require(out != nullptr, "out: must not be NULL");
        std::string text = "[";
        for (size_t i = 0; i < ggml_backend_reg_count(); i++) {
            ggml_backend_reg_t reg = ggml_backend_reg_get(i);
            text += i > 0 ? ", " : "";
            text += "{\"name\": " + lc::json_quote(ggml_backend_reg_name(reg)) + ", \"devices\": " + devices_json(reg) +
                ", \"features\": " + features_json(reg) + "}";
        }
        *out = lc::copy_string(text + "]");
    });
}

uint64_t lc_gpu_free_bytes(void) {
    uint64_t sum = 0;
    lc::guard([&] {
        for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
            ggml_backend_dev_t device = ggml_backend_dev_get(i);
            if (ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_GPU) {
                size_t free = 0, total = 0;
                ggml_backend_dev_memory(device, &free, &total);
                sum += free;
            }
        }
    });
    return sum;
}
