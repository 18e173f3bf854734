#include "buffer.h"

#include "packed.h"

#include "ggml-backend-impl.h"

#include <sys/mman.h>

#include <atomic>
#include <cstring>

namespace lc::kernels {

namespace {

constexpr size_t ALIGNMENT = 64;

std::atomic<uint64_t> live_bytes{0};
std::atomic<int> n_packers{1};

void free_buffer(ggml_backend_buffer_t buffer) {
    munmap(buffer->context, buffer->size);
    live_bytes -= buffer->size;
}

void * get_base(ggml_backend_buffer_t buffer) {
    return buffer->context;
}

void set_tensor(ggml_backend_buffer_t, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    // llama.cpp sets every weight whole; a part cannot be packed before the rest is known.
    GGML_ASSERT(offset == 0 && size == ggml_nbytes(tensor) && "packed weights are set as a whole");
    const int64_t n_groups = (tensor->ne[1] + GROUP - 1) / GROUP;
    const int n_threads = static_cast<int>(n_groups < n_packers ? n_groups : static_cast<int64_t>(n_packers));
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 4)
    for (int64_t group = 0; group < n_groups; group++) {
        pack(tensor->type, data, tensor->ne[0], tensor->ne[1], group, group + 1, tensor->data);
    }
}

void get_tensor(ggml_backend_buffer_t, const ggml_tensor * tensor, void *, size_t, size_t) {
    GGML_ABORT("%s: packed weights cannot be read back in the file's layout", tensor->name);
}

void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    memset(buffer->context, value, buffer->size);
}

const ggml_backend_buffer_i buffer_interface = {
    /* .free_buffer   = */ free_buffer,
    /* .get_base      = */ get_base,
    /* .init_tensor   = */ nullptr,
    /* .memset_tensor = */ nullptr,
    /* .set_tensor    = */ set_tensor,
    /* .get_tensor    = */ get_tensor,
    /* .set_tensor_2d = */ nullptr,
    /* .get_tensor_2d = */ nullptr,
    /* .cpy_tensor    = */ nullptr,
    /* .clear         = */ clear,
    /* .reset         = */ nullptr,
};

const char * get_name(ggml_backend_buffer_type_t) {
    return "LLMCORE_PACKED";
}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t buft, size_t size) {
    void * base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        return nullptr;
    }
    // A step reads all of it in a row: with small pages the look-ups cost bandwidth.
    madvise(base, size, MADV_HUGEPAGE);
    live_bytes += size;
    return ggml_backend_buffer_init(buft, buffer_interface, base, size);
}

size_t get_alignment(ggml_backend_buffer_type_t) {
    return ALIGNMENT;
}

size_t get_alloc_size(ggml_backend_buffer_type_t, const ggml_tensor * tensor) {
    const Format format = format_of(tensor->type);
    if (format == Format::none) {
        return ggml_nbytes(tensor);
    }
    return static_cast<size_t>(packed_bytes(format, tensor->ne[0], tensor->ne[1]));
}

ggml_backend_buffer_type & the_type() {
    static ggml_backend_buffer_type type = {
        /* .iface   = */ {
            /* .get_name       = */ get_name,
            /* .alloc_buffer   = */ alloc_buffer,
            /* .get_alignment  = */ get_alignment,
            /* .get_max_size   = */ nullptr,
            /* .get_alloc_size = */ get_alloc_size,
            /* .is_host        = */ nullptr,
        },
        /* .device  = */ nullptr,
        /* .context = */ nullptr,
    };
    return type;
}

} // namespace

ggml_backend_buffer_type_t packed_buffer_type() {
    return &the_type();
}

void packed_buffer_set_device(ggml_backend_dev_t device) {
    the_type().device = device;
}

void packed_buffer_set_threads(int n_threads) {
    n_packers = n_threads > 0 ? n_threads : 1;
}

uint64_t packed_buffers_bytes() {
    return live_bytes;
}

} // namespace lc::kernels
