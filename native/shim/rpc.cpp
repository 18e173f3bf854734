// Devices of other machines that compute a part of a model: llama.cpp's RPC backend, in builds with LLMCORE_RPC=ON.
#include "build_config.h"
#include "shim/error.h"

#include "ggml-backend.h"
#ifdef LC_RPC
#include "ggml-rpc.h"
#endif

#include <string>
#include <vector>

namespace {

#ifdef LC_RPC

using add_server_t = ggml_backend_reg_t (*)(const char *);

// Returns ggml_backend_rpc_add_server() of the loaded RPC backend.
add_server_t find_add_server() {
    ggml_backend_reg_t reg = ggml_backend_reg_by_name("RPC");
    if (reg == nullptr) {
        throw std::runtime_error("the RPC backend of this build is not loaded (lc_backends_load)");
    }
    const auto function = reinterpret_cast<add_server_t>(ggml_backend_reg_get_proc_address(reg, "ggml_backend_rpc_add_server"));
    if (function == nullptr) {
        throw std::runtime_error("the RPC backend has no ggml_backend_rpc_add_server");
    }
    return function;
}

std::vector<ggml_backend_dev_t> devices_of(const char * endpoint) {
    ggml_backend_reg_t reg = find_add_server()(endpoint);
    if (reg == nullptr) {
        throw std::runtime_error(std::string("the RPC server ") + endpoint + " has no devices");
    }
    std::vector<ggml_backend_dev_t> devices;
    for (size_t i = 0; i < ggml_backend_reg_dev_count(reg); i++) {
        devices.push_back(ggml_backend_reg_dev_get(reg, i));
    }
    return devices;
}

#endif

} // namespace

int32_t lc_rpc_protocol(void) {
#ifdef LC_RPC
    return RPC_PROTO_MAJOR_VERSION * 256 + RPC_PROTO_MINOR_VERSION;
#else
    return 0;
#endif
}

lc_status lc_rpc_devices(size_t n, const char * const * endpoints, void ** out, size_t n_out, uint64_t * free_bytes) {
    return lc::guard([&] {
        lc::require(endpoints != nullptr && out != nullptr && free_bytes != nullptr,
                    "endpoints, out, free_bytes: must not be NULL");
#ifdef LC_RPC
        // The devices are not registered with ggml: only models that name the server may use them.
        size_t n_found = 0;
        *free_bytes    = 0;
        for (size_t i = 0; i < n; i++) {
            for (ggml_backend_dev_t device : devices_of(endpoints[i])) {
                lc::require(n_found + 1 < n_out, "too many devices");
                size_t free = 0, total = 0;
                ggml_backend_dev_memory(device, &free, &total);
                *free_bytes += free;
                out[n_found++] = device;
            }
        }
        out[n_found] = nullptr;
#else
        (void) n;
        (void) n_out;
        throw lc::InvalidArgument("this build has no RPC backend (-DLLMCORE_RPC=ON)");
#endif
    });
}
