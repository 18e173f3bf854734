// Pages of mapped files that nobody reads again.
#include "shim/error.h"

#include <sys/mman.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

lc_status lc_mapping_release(const char * path) {
    return lc::guard([&] {
        lc::require(path != nullptr && path[0] == '/', "path: must be absolute");
        const std::string wanted = std::string(" ") + path;
        std::ifstream maps("/proc/self/maps");
        for (std::string line; std::getline(maps, line);) {
            if (line.size() < wanted.size() || line.compare(line.size() - wanted.size(), wanted.size(), wanted) != 0) {
                continue;
            }
            uint64_t begin = 0, end = 0;
            if (sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &begin, &end) == 2) {
                // Pages of a file that were not written to: dropped, never lost.
                madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
            }
        }
    });
}
