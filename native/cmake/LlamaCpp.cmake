# Adds llama.cpp with our settings. Only what our targets need is built, and its own install rules are not used.

# Sets the default of one of llama.cpp's options, which -D on the command line overrides. It is not cached, so that LLMCORE_* may
# change between two configurations of a build tree.
macro(llmcore_default name value)
    if(NOT DEFINED CACHE{${name}})
        set(${name} "${value}")
    endif()
endmacro()

llmcore_default(BUILD_SHARED_LIBS ON)
if(LLMCORE_CPU STREQUAL "all")
    llmcore_default(GGML_NATIVE OFF)
    llmcore_default(GGML_BACKEND_DL ON)
    llmcore_default(GGML_CPU_ALL_VARIANTS ON)
else()
    llmcore_default(GGML_NATIVE ON)
    llmcore_default(GGML_BACKEND_DL OFF)
    llmcore_default(GGML_CPU_ALL_VARIANTS OFF)
endif()

if(LLMCORE_BLAS STREQUAL "off")
    set(GGML_BLAS OFF)
else()
    set(GGML_BLAS ON)
    set(GGML_BLAS_VENDOR OpenBLAS)
endif()

set(GGML_RPC ${LLMCORE_RPC})
# llama.cpp would link a system library if it found one.
llmcore_default(GGML_RPC_RDMA OFF)

# Likewise; only needed for tensors split over several GPUs, which llmcore does not offer.
llmcore_default(GGML_CUDA_NCCL OFF)

set(LLAMA_BUILD_COMMON ON)
set(LLAMA_BUILD_TOOLS ${LLMCORE_BUILD_PEERS})
set(LLAMA_BUILD_SERVER ${LLMCORE_BUILD_PEERS})
set(LLAMA_SUBPROCESS ${LLMCORE_BUILD_PEERS})
foreach(part EXAMPLES TESTS APP UI)
    set(LLAMA_BUILD_${part} OFF)
endforeach()
set(LLAMA_USE_PREBUILT_UI OFF)
llmcore_default(LLAMA_OPENSSL OFF)
if(LLAMA_CPP_COMMIT)
    # If the cache is inside a git repository, llama.cpp would report that repository's commit as its own.
    set(ENV{GIT_CEILING_DIRECTORIES} "${LLAMA_CPP_DIR}")
    set(LLAMA_BUILD_NUMBER 0)
    set(LLAMA_BUILD_COMMIT "${LLAMA_CPP_COMMIT}")
endif()

add_subdirectory("${LLAMA_CPP_DIR}" "${CMAKE_BINARY_DIR}/llama.cpp" EXCLUDE_FROM_ALL SYSTEM)

if(LLMCORE_RPC)
    if(NOT TARGET ggml-rpc-server)
        add_subdirectory("${LLAMA_CPP_DIR}/tools/rpc" "${CMAKE_BINARY_DIR}/rpc-server" EXCLUDE_FROM_ALL SYSTEM)
    endif()
    add_custom_target(llmcore-rpc-server ALL DEPENDS ggml-rpc-server)
endif()

# The backends of this configuration. (llama.cpp's list is cached and also has those of earlier configurations.)
set(LLMCORE_BACKENDS "")
foreach(target IN LISTS GGML_AVAILABLE_BACKENDS)
    if(TARGET ${target})
        list(APPEND LLMCORE_BACKENDS ${target})
    endif()
endforeach()
set(LLMCORE_UPSTREAM ggml-base ggml llama llama-common ${LLMCORE_BACKENDS})

# llmcore uses the templates, parsers and JSON schemas of llama-common, but not its command line and downloads. Without these the
# library has no HTTP client, and the build takes an eighth less time. llama.cpp's own programs need them. If other files of
# llama-common come to depend on them, --no-undefined makes linking fail here instead of loading on the user's machine.
if(NOT LLMCORE_BUILD_PEERS)
    get_target_property(sources llama-common SOURCES)
    list(REMOVE_ITEM sources arg.cpp console.cpp debug.cpp download.cpp hf-cache.cpp imatrix-loader.cpp preset.cpp subproc.cpp)
    set_property(TARGET llama-common PROPERTY SOURCES ${sources})
    get_target_property(libraries llama-common LINK_LIBRARIES)
    list(REMOVE_ITEM libraries cpp-httplib)
    set_property(TARGET llama-common PROPERTY LINK_LIBRARIES ${libraries})
    target_link_options(llama-common PRIVATE -Wl,--no-undefined)
endif()

# A wheel cannot hold symbolic links, so each library is one file with the name that its dependents look up.
foreach(target IN LISTS LLMCORE_UPSTREAM)
    set_property(TARGET ${target} PROPERTY VERSION)
    set_property(TARGET ${target} PROPERTY SOVERSION)
    set_property(TARGET ${target} PROPERTY PUBLIC_HEADER)
endforeach()

# Another llama.cpp may be loaded in the process, or be on LD_LIBRARY_PATH, and the loader identifies libraries by their soname.
# A soname with $ORIGIN makes dependents load exactly the file beside them. The version script keeps static variables of inline
# functions local: GCC makes them unique in the process, and two versions of llama.cpp would share them.
set(upstream_map "${PROJECT_SOURCE_DIR}/native/upstream.map")
foreach(target IN LISTS LLMCORE_UPSTREAM)
    get_target_property(kind ${target} TYPE)
    if(kind STREQUAL "SHARED_LIBRARY")
        set_property(TARGET ${target} PROPERTY NO_SONAME ON)
        target_link_options(${target} PRIVATE "LINKER:-soname,$ORIGIN/lib${target}.so" "LINKER:--version-script=${upstream_map}")
        set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${upstream_map}")
    endif()
endforeach()

# CUDA's libraries stay in the folder of its toolkit, which the loader may not search.
if(TARGET ggml-cuda)
    set(cuda_folders "")
    foreach(library "${CUDA_CUDART}" "${CUDA_cublas_LIBRARY}")
        get_filename_component(folder "${library}" DIRECTORY)
        if(IS_ABSOLUTE "${folder}")
            list(APPEND cuda_folders "${folder}")
        endif()
    endforeach()
    list(REMOVE_DUPLICATES cuda_folders)
    set_property(TARGET ggml-cuda PROPERTY INSTALL_RPATH "$ORIGIN" ${cuda_folders})
endif()

include(Fixes)

if(GGML_BLAS)
    get_property(blas_prefix GLOBAL PROPERTY LLMCORE_BLAS_PREFIX)
    if(blas_prefix)
        foreach(symbol cblas_sgemm openblas_set_num_threads openblas_get_parallel)
            target_compile_definitions(ggml-blas PRIVATE ${symbol}=${blas_prefix}${symbol})
        endforeach()
    endif()
endif()

# -march=native depends on the machine, but the compile command does not show it, so neither ccache nor a build tree that is
# moved to another machine would compile anew. The flags that it stands for are therefore hashed into the compile command.
if(GGML_NATIVE AND TARGET ggml-cpu)
    execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -march=native "-###" -E -x c++ /dev/null
                    OUTPUT_QUIET ERROR_VARIABLE native_flags RESULT_VARIABLE failed)
    if(NOT failed)
        string(REGEX MATCHALL "\"?-(m|-param)[^ ]+( \"?[a-z0-9-]+=[0-9]+)?" native_flags "${native_flags}")
        string(SHA1 native_flags "${native_flags}")
        string(SUBSTRING "${native_flags}" 0 12 native_flags)
        target_compile_definitions(ggml-cpu PRIVATE LLMCORE_NATIVE_CPU=0x${native_flags})
    endif()
endif()

if(LLMCORE_BUILD_PEERS)
    add_custom_target(llmcore-peers ALL
                      DEPENDS llama-bench llama-batched-bench llama-completion llama-quantize llama-server)
endif()
