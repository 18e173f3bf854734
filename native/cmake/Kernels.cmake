# Our own ggml backend (native/kernels), a part of libllmcore. A file is compiled for one instruction set, and all are built on
# every x86-64 machine, because the choice is made at run time. Other architectures have no kernels, and neither have builds
# without OpenMP, whose threads the kernels share with ggml. Sets LLMCORE_KERNELS (sources) and LLMCORE_KERNELS_NEED (libraries
# to link).

set(kernels "${CMAKE_CURRENT_SOURCE_DIR}/kernels")
set(has_kernels OFF)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$" AND GGML_OPENMP)
    find_package(OpenMP COMPONENTS CXX)
    set(has_kernels ${OpenMP_CXX_FOUND})
endif()

# GCC supports all of these from version 11 on.
include(CheckCXXCompilerFlag)
foreach(flag IN ITEMS mavxvnni mavx512bf16 mamx-bf16)
    if(has_kernels)
        string(MAKE_C_IDENTIFIER "LLMCORE_CXX_${flag}" known)
        check_cxx_compiler_flag("-${flag}" ${known})
        if(NOT ${known})
            set(has_kernels OFF)
            message(STATUS "No kernels of our own: this compiler does not know -${flag}")
        endif()
    endif()
endforeach()

if(has_kernels)
    set(flags_avx2 -mavx2 -mfma -mf16c -mbmi2)
    set(flags_avxvnni ${flags_avx2} -mavxvnni)
    set(flags_avx512 ${flags_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)
    set(flags_amx ${flags_avx512} -mavx512bf16 -mamx-tile -mamx-bf16)
    file(GLOB kernel_sources CONFIGURE_DEPENDS "${kernels}/*/*.cpp")
    list(REMOVE_ITEM kernel_sources "${kernels}/backend/c_api_none.cpp")
    set(LLMCORE_KERNELS ${kernel_sources})
    set(LLMCORE_KERNELS_NEED OpenMP::OpenMP_CXX)
    foreach(source IN LISTS kernel_sources)
        # The name gives the instruction set: <part>_<isa>.cpp. -O3, so that loops are vectorized.
        if(source MATCHES "_(avx2|avxvnni|avx512|amx)\\.cpp$")
            set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS -O3 ${flags_${CMAKE_MATCH_1}})
        endif()
    endforeach()
else()
    set(LLMCORE_KERNELS "${kernels}/backend/c_api_none.cpp")
    set(LLMCORE_KERNELS_NEED "")
endif()
