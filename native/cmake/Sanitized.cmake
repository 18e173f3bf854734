# Target llmcore-sanitized: our library with AddressSanitizer and UndefinedBehaviorSanitizer, in a folder with links to
# llama.cpp's libraries as they are. Only our code is compiled again and checked. Not part of the default build: `make sanitize`
# builds it and runs tests with it. gcc only, because clang keeps the libraries of its sanitizers elsewhere.

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
endif()

set(folder "${CMAKE_BINARY_DIR}/sanitize")
# -O1 overrides the build type's level, but not the -O3 of the kernels' files, so that the vectorized code of users is checked.
set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all)

llmcore_library(llmcore-sanitized)
set_target_properties(llmcore-sanitized PROPERTIES
    EXCLUDE_FROM_ALL ON
    OUTPUT_NAME llmcore
    LIBRARY_OUTPUT_DIRECTORY "${folder}")
target_compile_definitions(llmcore-sanitized PRIVATE _GLIBCXX_ASSERTIONS)
# -Wno-error: with the sanitizers' checks, gcc 12 warns of uninitialized variables that are not.
target_compile_options(llmcore-sanitized PRIVATE ${sanitizers} -fno-omit-frame-pointer -g -O1 -Wno-error)
target_link_options(llmcore-sanitized PRIVATE ${sanitizers})

# Links, because the loader looks for the other libraries beside this one.
get_property(blas_library GLOBAL PROPERTY LLMCORE_BLAS_LIBRARY)
set(neighbours "${CMAKE_BINARY_DIR}/cpu.json" ${blas_library})
foreach(target IN LISTS LLMCORE_UPSTREAM)
    list(APPEND neighbours "$<TARGET_FILE:${target}>")
    add_dependencies(llmcore-sanitized ${target})
endforeach()
foreach(file IN LISTS neighbours)
    add_custom_command(TARGET llmcore-sanitized POST_BUILD VERBATIM
                       COMMAND "${CMAKE_COMMAND}" -E create_symlink "${file}" "${folder}/$<PATH:GET_FILENAME,${file}>")
endforeach()

# The value of LD_PRELOAD for a Python that loads the library: the sanitizer, and libstdc++, in which the sanitizer looks up the
# functions that throw exceptions when it starts. Python itself does not link libstdc++.
set(first "")
foreach(name libasan.so libstdc++.so)
    execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -print-file-name=${name} OUTPUT_VARIABLE file OUTPUT_STRIP_TRAILING_WHITESPACE)
    list(APPEND first "${file}")
endforeach()
list(JOIN first " " first)
file(WRITE "${folder}/preload" "${first}")
