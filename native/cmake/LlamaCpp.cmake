# Adds llama.cpp with our settings: nothing of it is built unless a target of ours needs it, nothing of it is installed
# by its own rules.

# A default for one of upstream's options, which -D on the command line overrides. Not cached, so that LLMCORE_* may
# change from one configuration of a build tree to the next.
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
# A library of the system's that upstream would link where it finds one.
llmcore_default(GGML_RPC_RDMA OFF)

# Likewise; it is for tensors split over several GPUs, which we never ask for.
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
    # The cache may lie inside somebody's git repository, whose commit would be taken for llama.cpp's.
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

# Backends that this configuration has (upstream's list also remembers those of earlier ones).
set(LLMCORE_BACKENDS "")
foreach(target IN LISTS GGML_AVAILABLE_BACKENDS)
    if(TARGET ${target})
        list(APPEND LLMCORE_BACKENDS ${target})
    endif()
endforeach()
set(LLMCORE_UPSTREAM ggml-base ggml llama llama-common ${LLMCORE_BACKENDS})

# Of llama-common we need templates, parsers and JSON schema, not the command line with its downloads: an HTTP client has
# no place in a library that never touches the network, and it takes an eighth of the build. llama.cpp's own programs do
# need it. Should other files come to depend on these, linking fails here, not loading at the user's.
if(NOT LLMCORE_BUILD_PEERS)
    get_target_property(sources llama-common SOURCES)
    list(REMOVE_ITEM sources arg.cpp console.cpp debug.cpp download.cpp hf-cache.cpp imatrix-loader.cpp preset.cpp subproc.cpp)
    set_property(TARGET llama-common PROPERTY SOURCES ${sources})
    get_target_property(libraries llama-common LINK_LIBRARIES)
    list(REMOVE_ITEM libraries cpp-httplib)
    set_property(TARGET llama-common PROPERTY LINK_LIBRARIES ${libraries})
    target_link_options(llama-common PRIVATE -Wl,--no-undefined)
endif()

# A wheel holds no symbolic links, so each library is one file, under the very name that its dependents look up.
foreach(target IN LISTS LLMCORE_UPSTREAM)
    set_property(TARGET ${target} PROPERTY VERSION)
    set_property(TARGET ${target} PROPERTY SOVERSION)
    set_property(TARGET ${target} PROPERTY PUBLIC_HEADER)
endforeach()

# Another llama.cpp may be in the process already, or on LD_LIBRARY_PATH, and the loader takes a library of the same soname for
# the same library. A soname with the folder in it makes dependents ask for that very file. Local: the variables of inline
# functions, which GCC makes unique in the whole process, so that two versions of llama.cpp would share them.
set(upstream_map "${PROJECT_SOURCE_DIR}/native/upstream.map")
foreach(target IN LISTS LLMCORE_UPSTREAM)
    get_target_property(kind ${target} TYPE)
    if(kind STREQUAL "SHARED_LIBRARY")
        set_property(TARGET ${target} PROPERTY NO_SONAME ON)
        target_link_options(${target} PRIVATE "LINKER:-soname,$ORIGIN/lib${target}.so" "LINKER:--version-script=${upstream_map}")
        set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${upstream_map}")
    endif()
endforeach()

# CUDA's own libraries stay where its toolkit is, which the loader need not know.
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

# Each reason is told in its header. Properties of single files, in the directory that their targets belong to.
set(amx_fix "${PROJECT_SOURCE_DIR}/native/fixes/amx_tile_loadconfig.h")
set_source_files_properties("${LLAMA_CPP_DIR}/ggml/src/ggml-cpu/amx/mmq.cpp" DIRECTORY "${LLAMA_CPP_DIR}/ggml/src"
                            PROPERTIES COMPILE_OPTIONS "-include;${amx_fix}" OBJECT_DEPENDS "${amx_fix}")
set(quiet_fix "${PROJECT_SOURCE_DIR}/native/fixes/quiet_errors.h")
set(grammar_fix "${PROJECT_SOURCE_DIR}/native/fixes/bounded_grammar.h")
set_source_files_properties("${LLAMA_CPP_DIR}/common/json-schema-to-grammar.cpp" DIRECTORY "${LLAMA_CPP_DIR}/common"
                            PROPERTIES COMPILE_OPTIONS "-include;${quiet_fix}" OBJECT_DEPENDS "${quiet_fix}")
set_source_files_properties("${LLAMA_CPP_DIR}/src/llama-grammar.cpp" DIRECTORY "${LLAMA_CPP_DIR}/src"
                            PROPERTIES COMPILE_OPTIONS "-include;${grammar_fix};-include;${quiet_fix}"
                                       OBJECT_DEPENDS "${grammar_fix};${quiet_fix}")

set(jinja_fix "${PROJECT_SOURCE_DIR}/native/fixes/bounded_jinja.h")
target_compile_options(llama-common PRIVATE "SHELL:-include \"${jinja_fix}\"")
get_target_property(sources llama-common SOURCES)
set_property(SOURCE ${sources} DIRECTORY "${LLAMA_CPP_DIR}/common" APPEND PROPERTY OBJECT_DEPENDS "${jinja_fix}")
set_property(SOURCE "${LLAMA_CPP_DIR}/common/jinja/value.cpp" DIRECTORY "${LLAMA_CPP_DIR}/common"
             APPEND PROPERTY COMPILE_DEFINITIONS LLMCORE_JINJA_HOME)
set_property(SOURCE "${LLAMA_CPP_DIR}/common/jinja/string.cpp" DIRECTORY "${LLAMA_CPP_DIR}/common"
             APPEND PROPERTY COMPILE_DEFINITIONS LLMCORE_JINJA_STRINGS)

set(plamo2_fix "${PROJECT_SOURCE_DIR}/native/fixes/plamo2_sequences.h")
set_source_files_properties("${LLAMA_CPP_DIR}/src/models/plamo2.cpp" DIRECTORY "${LLAMA_CPP_DIR}/src"
                            PROPERTIES COMPILE_OPTIONS "-include;${plamo2_fix}" OBJECT_DEPENDS "${plamo2_fix}")
set(cogvlm_fix "${PROJECT_SOURCE_DIR}/native/fixes/cogvlm_outputs.h")
set_source_files_properties("${LLAMA_CPP_DIR}/src/models/cogvlm.cpp" DIRECTORY "${LLAMA_CPP_DIR}/src"
                            PROPERTIES COMPILE_OPTIONS "-include;${cogvlm_fix}" OBJECT_DEPENDS "${cogvlm_fix}")
set(rwkv_fix "${PROJECT_SOURCE_DIR}/native/fixes/rwkv_sequences.h")
foreach(name rwkv6qwen2 arwkv7)
    set_source_files_properties("${LLAMA_CPP_DIR}/src/models/${name}.cpp" DIRECTORY "${LLAMA_CPP_DIR}/src"
                                PROPERTIES COMPILE_OPTIONS "-include;${rwkv_fix}" OBJECT_DEPENDS "${rwkv_fix}")
endforeach()

if(GGML_BLAS)
    get_property(blas_prefix GLOBAL PROPERTY LLMCORE_BLAS_PREFIX)
    if(blas_prefix)
        foreach(symbol cblas_sgemm openblas_set_num_threads openblas_get_parallel)
            target_compile_definitions(ggml-blas PRIVATE ${symbol}=${blas_prefix}${symbol})
        endforeach()
    endif()
endif()

# -march=native means another thing on another machine, but neither a build tree that moved there nor ccache sees that:
# what it means here becomes part of the compile command.
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
