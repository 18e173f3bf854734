// Measures the machine's limits: the best of several rounds, all threads at once.
#include "kernels/peak/peak.h"

#include "kernels/isa/isa.h"

#include "shim/error.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <string>

namespace {

using namespace lc::kernels;

constexpr size_t  READ_BYTES = size_t{1} << 29; // beyond every cache
constexpr int64_t ROUNDS     = 20000;
constexpr int     REPEATS    = 4;

constexpr Variant<const Peak *> VARIANTS[] = {{AVX2 | AVX512, &peak_avx512}, {AVX2, &peak_avx2}};

// Operations (or bytes) per second of `work(thread, threads)`, which every thread calls and which returns how many it did.
template <typename Work> double rate(int n_threads, const Work & work) {
    double best = 0.0;
    for (int i = 0; i < REPEATS; i++) {
        int64_t    done  = 0;
        const auto begin = std::chrono::steady_clock::now();
#pragma omp parallel num_threads(n_threads) reduction(+ : done)
        done += work(omp_get_thread_num(), omp_get_num_threads());
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        best                                     = std::max(best, static_cast<double>(done) / took.count());
    }
    return best;
}

std::string billions(const char * name, double operations) {
    return std::string("\"") + name + "\": " + std::to_string(operations / 1e9);
}

} // namespace

double lc_kernels_bandwidth(int32_t n_threads) {
    void * memory = mmap(nullptr, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (n_threads < 1 || memory == MAP_FAILED || !has_all(machine_features(), AVX2)) {
        return 0.0;
    }
    madvise(memory, READ_BYTES, MADV_HUGEPAGE);
    auto * bytes = static_cast<uint8_t *>(memory);
    std::fill_n(bytes, READ_BYTES, uint8_t{1});
    const Peak & peak        = *choose(VARIANTS, machine_features());
    const double bytes_per_s = rate(n_threads, [&](int ith, int nth) {
        float        sink  = 0.0f;
        const size_t share = READ_BYTES / static_cast<size_t>(nth) / 256 * 256;
        return peak.read(bytes + share * static_cast<size_t>(ith), share, &sink);
    });
    munmap(memory, READ_BYTES);
    return bytes_per_s / 1e9;
}

lc_status lc_kernels_flops(int32_t n_threads, char ** out) {
    return lc::guard([&] {
        lc::require(out != nullptr, "out: must not be NULL");
        lc::require(n_threads >= 1, "n_threads: must be at least 1");
        lc::require(has_all(machine_features(), AVX2), "this machine has none of the kernels' instructions");
        const Peak & peak     = *choose(VARIANTS, machine_features());
        const auto   measured = [&](int64_t (*work)(int64_t, float *)) {
            return rate(n_threads, [&](int, int) {
                float sink = 0.0f;
                return work(ROUNDS, &sink);
            });
        };
        std::string text = "{" + billions("fp32", measured(peak.fp32)) + ", " + billions("int8", measured(peak.int8));
        if (isa_runs(Isa::amx)) {
            text += ", " + billions("bf16", measured(peak_bf16_amx));
        }
        *out = lc::copy_string(text + "}");
    });
}
