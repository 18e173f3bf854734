# Installs into the package: our library and the libraries that it needs, each once, and nothing else.

set(LLMCORE_LIB_DIR "llmcore/lib")
install(TARGETS llmcore ${LLMCORE_UPSTREAM}
        LIBRARY DESTINATION "${LLMCORE_LIB_DIR}" COMPONENT llmcore
        RUNTIME DESTINATION "${LLMCORE_LIB_DIR}" COMPONENT llmcore)
install(FILES "${CMAKE_BINARY_DIR}/cpu.json" DESTINATION "${LLMCORE_LIB_DIR}" COMPONENT llmcore)

if(LLMCORE_RPC)
    # In the same folder as the libraries that it needs. `llmcore rpc-server` runs it.
    install(TARGETS ggml-rpc-server RUNTIME DESTINATION "${LLMCORE_LIB_DIR}" COMPONENT llmcore)
endif()

if(LLMCORE_BLAS STREQUAL "scipy")
    get_property(blas_library GLOBAL PROPERTY LLMCORE_BLAS_LIBRARY)
    install(PROGRAMS "${blas_library}" DESTINATION "${LLMCORE_LIB_DIR}" COMPONENT llmcore)
endif()

# gcc's OpenMP runtime is installed too, because slim images lack it (Debian installs it only with compilers and numerical
# packages), unlike libstdc++. Its licence permits that (NOTICE). If the process has already loaded a libgomp.so.1, the loader
# uses that one.
if(GGML_OPENMP_ENABLED AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -print-file-name=libgomp.so.1
                    OUTPUT_VARIABLE gomp OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT IS_ABSOLUTE "${gomp}")
        message(FATAL_ERROR "The compiler supports OpenMP but has no libgomp.so.1: install it (Debian: `apt-get install libgomp1`), "
                            "or choose -DGGML_OPENMP=OFF.")
    endif()
    file(REAL_PATH "${gomp}" gomp)
    install(PROGRAMS "${gomp}" DESTINATION "${LLMCORE_LIB_DIR}" COMPONENT llmcore RENAME libgomp.so.1)
endif()
