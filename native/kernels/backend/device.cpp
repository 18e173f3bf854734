// Two devices in one registration. The first computes; its results lie in the CPU's own buffer type, so that CPU operations read
// them without a copy. The second exists only to receive weights: llama.cpp offers each weight to the default buffer type of each
// accelerator, and that of the second device is the packed one. It comes after the first and is never asked to compute.
#include "kernels/backend/device.h"

#include "kernels/attention/attention.h"
#include "kernels/backend/product.h"
#include "kernels/backend/packed_buffer.h"
#include "kernels/matmul/calibrate.h"
#include "kernels/backend/graph.h"
#include "kernels/elementwise/rope.h"
#include "kernels/elementwise/elementwise.h"

#include "ggml-backend-impl.h"
#include "ggml-impl.h"

#include <atomic>
#include <cstring>

namespace lc::kernels {

namespace {

std::atomic<Isa> isa_in_use{Isa::none};

ggml_backend_dev_t device_of(bool is_weights);
ggml_backend_reg_t registration();

// True if `op` reads packed weights, which only products understand.
bool reads_packed(const ggml_tensor * op) {
    for (const ggml_tensor * source : op->src) {
        if (source != nullptr && in_packed_buffer(source)) {
            return true;
        }
    }
    return false;
}

// --- backends --------------------------------------------------------------------------------------------------------

const char * backend_name(ggml_backend_t backend) {
    return ggml_backend_dev_name(backend->device);
}

GraphExecutor & executor_of(ggml_backend_t backend) {
    return *static_cast<GraphExecutor *>(backend->context);
}

void backend_free(ggml_backend_t backend) {
    delete static_cast<GraphExecutor *>(backend->context);
    delete backend;
}

ggml_status backend_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    try {
        return executor_of(backend).compute(graph);
    } catch (const std::bad_alloc &) {
        return GGML_STATUS_ALLOC_FAILED;
    }
}

ggml_guid_t backend_guid() {
    static ggml_guid guid = {0x6c, 0x6c, 0x6d, 0x63, 0x6f, 0x72, 0x65, 0x2d, 0x6b, 0x65, 0x72, 0x6e, 0x65, 0x6c, 0x73, 0x31};
    return &guid;
}

ggml_backend_t init_backend(ggml_backend_dev_t device, const char *) {
    const Isa      isa       = isa_in_use != Isa::none ? isa_in_use.load() : best_isa();
    ggml_backend_i interface = {};
    interface.get_name       = backend_name;
    interface.free           = backend_free;
    interface.graph_compute  = backend_compute;
    return new ggml_backend{backend_guid(), interface, device, new GraphExecutor(isa)};
}

void set_n_threads(ggml_backend_t backend, int n_threads) {
    executor_of(backend).n_threads = n_threads;
}

void set_abort_callback(ggml_backend_t backend, ggml_abort_callback callback, void * data) {
    executor_of(backend).abort_callback = callback;
    executor_of(backend).abort_data     = data;
}

// --- devices ---------------------------------------------------------------------------------------------------------

bool is_weights_device(ggml_backend_dev_t device) {
    return device == device_of(true);
}

const char * device_name(ggml_backend_dev_t device) {
    return is_weights_device(device) ? "LLMCORE_WEIGHTS" : "LLMCORE";
}

const char * device_description(ggml_backend_dev_t device) {
    return is_weights_device(device) ? "packed weights" : "kernels for packed weights and attention";
}

void device_memory(ggml_backend_dev_t, size_t * free, size_t * total) {
    *free  = 0;
    *total = 0;
}

enum ggml_backend_dev_type device_type(ggml_backend_dev_t) {
    return GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

void device_props(ggml_backend_dev_t device, ggml_backend_dev_props * props) {
    memset(props, 0, sizeof(*props));
    props->name        = device_name(device);
    props->description = device_description(device);
    props->type        = GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t device) {
    return is_weights_device(device) ? packed_buffer_type() : ggml_backend_cpu_buffer_type();
}

bool device_supports_op(ggml_backend_dev_t device, const ggml_tensor * op) {
    if (is_weights_device(device)) {
        return isa_in_use != Isa::none && product_supported(op);
    }
    if (ggml_op_is_empty(op->op)) {
        return true;
    }
    if (op->op == GGML_OP_MUL_MAT) {
        return product_supported(op);
    }
    const Isa isa = isa_in_use;
    if (isa == Isa::none || reads_packed(op)) {
        return false;
    }
    if (op->op == GGML_OP_FLASH_ATTN_EXT) {
        return attention_supported(isa, op);
    }
    // If no weights are packed, ggml computes the products; then the small operations stay with ggml too, since they are
    // computed here only to save graph splits.
    return packed_bytes_in_use() > 0 && (op->op == GGML_OP_ROPE ? rope_supported(op) : row_op_supported(op));
}

bool device_supports_buft(ggml_backend_dev_t device, ggml_backend_buffer_type_t buft) {
    return buft == packed_buffer_type() || (!is_weights_device(device) && ggml_backend_buft_is_host(buft));
}

ggml_backend_device make_device() {
    ggml_backend_device device   = {};
    device.iface.get_name        = device_name;
    device.iface.get_description = device_description;
    device.iface.get_memory      = device_memory;
    device.iface.get_type        = device_type;
    device.iface.get_props       = device_props;
    device.iface.init_backend    = init_backend;
    device.iface.get_buffer_type = device_buffer_type;
    device.iface.supports_op     = device_supports_op;
    device.iface.supports_buft   = device_supports_buft;
    device.reg                   = registration();
    return device;
}

ggml_backend_dev_t device_of(bool is_weights) {
    static ggml_backend_device computing = make_device();
    static ggml_backend_device weights   = make_device();
    return is_weights ? &weights : &computing;
}

// --- registration ----------------------------------------------------------------------------------------------------

const char * registration_name(ggml_backend_reg_t) {
    return "LLMCORE";
}

size_t device_count(ggml_backend_reg_t) {
    return 2;
}

ggml_backend_dev_t device_at(ggml_backend_reg_t, size_t index) {
    return device_of(index == 1);
}

ggml_backend_feature * features(ggml_backend_reg_t) {
    static ggml_backend_feature list[] = {{"LEVEL", nullptr}, {nullptr, nullptr}};
    list[0].value                      = isa_name(isa_in_use);
    return list;
}

void * proc_address(ggml_backend_reg_t, const char * name) {
    if (strcmp(name, "ggml_backend_set_n_threads") == 0) {
        return reinterpret_cast<void *>(set_n_threads);
    }
    if (strcmp(name, "ggml_backend_set_abort_callback") == 0) {
        return reinterpret_cast<void *>(set_abort_callback);
    }
    if (strcmp(name, "ggml_backend_get_features") == 0) {
        return reinterpret_cast<void *>(features);
    }
    return nullptr;
}

ggml_backend_reg_t registration() {
    static ggml_backend_reg reg = {
        GGML_BACKEND_API_VERSION,
        {registration_name, device_count, device_at, proc_address},
        nullptr,
    };
    return &reg;
}

} // namespace

void devices_use(Isa isa, int n_threads) {
    packed_buffer_set_threads(n_threads);
    calibrate(isa, n_threads);
    isa_in_use                = isa;
    static bool is_registered = false;
    if (isa != Isa::none && !is_registered) {
        packed_buffer_set_device(device_of(true));
        ggml_backend_register(registration());
        is_registered = true;
    }
}

Isa devices_isa() {
    return isa_in_use;
}

} // namespace lc::kernels
