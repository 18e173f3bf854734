# Replaces CMake's own module for ggml's find_package(BLAS): finds the OpenBLAS that LLMCORE_BLAS names, and fails if it is missing,
# instead of finding another BLAS.
#
# scipy   the scipy-openblas32 wheel of the build environment. Library and headers are copied into the build tree and used
#         from there, because pip removes its build environments, and the next one has another path.
# system  the distribution's OpenBLAS, which the built library then depends on.
#
# Sets BLAS_*, and LLMCORE_BLAS_PREFIX: the prefix of the library's symbols.

if(LLMCORE_BLAS STREQUAL "scipy")
    execute_process(
        COMMAND "${Python_EXECUTABLE}" -c "import scipy_openblas32 as b; print(b.get_lib_dir(), b.get_library(fullname=True), b.get_include_dir(), sep=';')"
        OUTPUT_VARIABLE _blas OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE _failed)
    list(LENGTH _blas _n)
    if(_failed OR NOT _n EQUAL 3)
        message(FATAL_ERROR "LLMCORE_BLAS=scipy, but ${Python_EXECUTABLE} has no scipy-openblas32: `pip install scipy-openblas32`, "
                            "or choose -DLLMCORE_BLAS=system or off.")
    endif()
    list(GET _blas 0 _lib_dir)
    list(GET _blas 1 _lib_name)
    list(GET _blas 2 _include_dir)
    file(COPY_FILE "${_lib_dir}/${_lib_name}" "${CMAKE_BINARY_DIR}/bin/${_lib_name}" ONLY_IF_DIFFERENT)
    file(COPY "${_include_dir}/" DESTINATION "${CMAKE_BINARY_DIR}/openblas")
    set(BLAS_LIBRARIES "${CMAKE_BINARY_DIR}/bin/${_lib_name}")
    set(BLAS_INCLUDE_DIRS "${CMAKE_BINARY_DIR}/openblas")
    set(LLMCORE_BLAS_PREFIX "scipy_")
else()
    find_library(LLMCORE_OPENBLAS_LIBRARY NAMES openblas PATH_SUFFIXES openblas openblas-pthread)
    find_path(LLMCORE_OPENBLAS_INCLUDE_DIR NAMES openblas_config.h
              PATH_SUFFIXES openblas openblas-pthread ${CMAKE_LIBRARY_ARCHITECTURE}/openblas-pthread
                            ${CMAKE_LIBRARY_ARCHITECTURE}/openblas ${CMAKE_LIBRARY_ARCHITECTURE})
    if(NOT LLMCORE_OPENBLAS_LIBRARY OR NOT LLMCORE_OPENBLAS_INCLUDE_DIR)
        message(FATAL_ERROR "LLMCORE_BLAS=system, but no OpenBLAS with headers was found: install it (Debian: `apt-get install "
                            "libopenblas-dev`), or choose -DLLMCORE_BLAS=scipy or off.")
    endif()
    set(BLAS_LIBRARIES "${LLMCORE_OPENBLAS_LIBRARY}")
    set(BLAS_INCLUDE_DIRS "${LLMCORE_OPENBLAS_INCLUDE_DIR}")
    set(LLMCORE_BLAS_PREFIX "")
endif()

set(BLAS_FOUND TRUE)
set(BLAS_LINKER_FLAGS "")
# Global properties, because the shim and the install rules are in other directories.
set_property(GLOBAL PROPERTY LLMCORE_BLAS_LIBRARY "${BLAS_LIBRARIES}")
set_property(GLOBAL PROPERTY LLMCORE_BLAS_PREFIX "${LLMCORE_BLAS_PREFIX}")
