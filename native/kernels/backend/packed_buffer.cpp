#include "kernels/backend/packed_buffer.h"

#include "kernels/weights/packed.h"

#include "ggml-backend-impl.h"
#include "ggml-impl.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

namespace lc::kernels {

namespace {

constexpr size_t ALIGNMENT = 64;

std::atomic<uint64_t> live_bytes{0};
std::atomic<uint64_t> unpacked_bytes{0};
std::atomic<int>      n_packers{1};

void free_buffer(ggml_backend_buffer_t buffer) {
    munmap(buffer->context, buffer->size);
    live_bytes -= buffer->size;
}

void * get_base(ggml_backend_buffer_t buffer) {
    return buffer->context;
}

// A range of bytes of a tensor in the file's layout. For a view it is a range of its root, the tensor that it is a view of.
struct ByteRange {
    const ggml_tensor * root;
    size_t              begin;
    size_t              end;

    ByteRange(const ggml_tensor * t, size_t offset, size_t size)
        : root(t->view_src != nullptr ? t->view_src : t), begin(offset + (t->view_src != nullptr ? t->view_offs : 0)),
          end(begin + size) {}

    bool is_whole() const { return begin == 0 && end == ggml_nbytes(root); }
    size_t panel_bytes() const { return PANEL_COLS * root->nb[1]; }
    size_t first_of(int64_t panel) const { return static_cast<size_t>(panel) * panel_bytes(); }
    int64_t panels_begin() const { return static_cast<int64_t>(begin / panel_bytes()); }
    int64_t panels_end() const { return static_cast<int64_t>((end + panel_bytes() - 1) / panel_bytes()); }
    int64_t columns_of(int64_t panel) const { return std::min(PANEL_COLS, root->ne[1] - panel * PANEL_COLS); }
};

// Calls work(panel) for each panel of columns that the range overlaps, on several threads.
template <typename Work> void each_panel(const ByteRange & range, const Work & work) {
    const int64_t begin = range.panels_begin(), end = range.panels_end();
    const int     n_threads = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(end - begin, n_packers)));
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 4)
    for (int64_t panel = begin; panel < end; panel++) {
        work(panel);
    }
}

// One panel of columns in the file's layout, and the part of it that belongs to the range: n bytes from `first` on, which are
// `place` bytes behind the begin of the range.
struct PanelBytes {
    std::vector<uint8_t> bytes;
    uint8_t *            first;
    size_t               n;
    size_t               place;

    PanelBytes(const ByteRange & range, int64_t panel) : bytes(static_cast<size_t>(range.columns_of(panel)) * range.root->nb[1]) {
        const size_t start = range.first_of(panel), from = std::max(range.begin, start);
        first = bytes.data() + (from - start);
        n     = std::min(range.end, start + bytes.size()) - from;
        place = from - range.begin;
        unpack(range.root->type, range.root->data, range.root->ne[0], range.root->ne[1], panel, bytes.data());
    }
};

void set_whole(const ggml_tensor * root, const void * data) {
    each_panel(ByteRange(root, 0, ggml_nbytes(root)),
               [&](int64_t panel) { pack(root->type, data, root->ne[0], root->ne[1], panel, panel + 1, root->data); });
}

// Unpacks, changes and packs again the panels that the range overlaps. (llama.cpp itself sets every weight as a whole.)
void set_part(const ByteRange & range, const void * data) {
    const ggml_tensor * root   = range.root;
    const int64_t       stride = packed_bytes(format_of(root->type), root->ne[0], PANEL_COLS);
    each_panel(range, [&](int64_t panel) {
        const PanelBytes old(range, panel);
        memcpy(old.first, static_cast<const uint8_t *>(data) + old.place, old.n);
        pack(root->type, old.bytes.data(), root->ne[0], range.columns_of(panel), 0, 1,
             static_cast<uint8_t *>(root->data) + panel * stride);
    });
}

void set_tensor(ggml_backend_buffer_t, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    const ByteRange range(tensor, offset, size);
    if (!lies_packed(range.root)) {
        memcpy(static_cast<uint8_t *>(range.root->data) + range.begin, data, size);
    } else if (range.is_whole()) {
        set_whole(range.root, data);
    } else {
        set_part(range, data);
    }
}

// Used by ggml, which copies a weight before each operation that it computes itself. llama.cpp asks which operations a device
// supports before it loads a weight, so this happens only for operations that it did not ask about, and when a model is saved.
void get_tensor(ggml_backend_buffer_t, const ggml_tensor * tensor, void * data, size_t offset, size_t size) {
    const ByteRange range(tensor, offset, size);
    if (!lies_packed(range.root)) {
        memcpy(data, static_cast<const uint8_t *>(range.root->data) + range.begin, size);
        return;
    }
    if (unpacked_bytes.fetch_add(size) == 0) {
        GGML_LOG_WARN("llmcore: %s is read in the file's layout, which is slow where it happens in every step\n", tensor->name);
    }
    each_panel(range, [&](int64_t panel) {
        const PanelBytes all(range, panel);
        memcpy(static_cast<uint8_t *>(data) + all.place, all.first, all.n);
    });
}

void memset_tensor(ggml_backend_buffer_t buffer, ggml_tensor * tensor, uint8_t value, size_t offset, size_t size) {
    const std::vector<uint8_t> bytes(size, value);
    set_tensor(buffer, tensor, bytes.data(), offset, size);
}

void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    memset(buffer->context, value, buffer->size);
}

const ggml_backend_buffer_i buffer_interface = {
    /* .free_buffer   = */ free_buffer,
    /* .get_base      = */ get_base,
    /* .init_tensor   = */ nullptr,
    /* .memset_tensor = */ memset_tensor,
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
    // Every step reads all of it in order: with small pages, translating addresses would cost bandwidth.
    madvise(base, size, MADV_HUGEPAGE);
    live_bytes += size;
    return ggml_backend_buffer_init(buft, buffer_interface, base, size);
}

size_t get_alignment(ggml_backend_buffer_type_t) {
    return ALIGNMENT;
}

size_t get_alloc_size(ggml_backend_buffer_type_t, const ggml_tensor * tensor) {
    if (!lies_packed(tensor)) {
        return ggml_nbytes(tensor);
    }
    return static_cast<size_t>(packed_bytes(format_of(tensor->type), tensor->ne[0], tensor->ne[1]));
}

ggml_backend_buffer_type & buffer_type() {
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
    return &buffer_type();
}

void packed_buffer_set_device(ggml_backend_dev_t device) {
    buffer_type().device = device;
}

void packed_buffer_set_threads(int n_threads) {
    n_packers = n_threads > 0 ? n_threads : 1;
}

uint64_t packed_bytes_in_use() {
    return live_bytes;
}

uint64_t unpacked_bytes_read() {
    return unpacked_bytes;
}

bool in_packed_buffer(const ggml_tensor * t) {
    const ggml_backend_buffer_t buffer = t->view_src != nullptr ? t->view_src->buffer : t->buffer;
    return buffer != nullptr && ggml_backend_buffer_get_type(buffer) == packed_buffer_type();
}

bool lies_packed(const ggml_tensor * root) {
    return format_of(root->type) != Format::none && root->ne[2] == 1 && root->ne[3] == 1 && ggml_is_contiguous(root);
}

} // namespace lc::kernels
