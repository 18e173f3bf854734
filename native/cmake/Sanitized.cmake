# The library once more, under AddressSanitizer and UndefinedBehaviorSanitizer, in a folder that has llama.cpp's libraries
# as they were built beside it: what our own code does is checked, at the cost of compiling that alone. Built by name only;
# `make sanitize` does, and runs tests with it. gcc only: clang keeps its sanitizers' libraries elsewhere.

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
endif()

set(folder "${CMAKE_BINARY_DIR}/sanitize")
# -O1 comes last but for the kernels' files of one level, which keep -O3: what is checked are the vectors that users get.
set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all)

llmcore_library(llmcore-sanitized)
set_target_properties(llmcore-sanitized PROPERTIES
    EXCLUDE_FROM_ALL ON
    OUTPUT_NAME llmcore
    LIBRARY_OUTPUT_DIRECTORY "${folder}")
target_compile_definitions(llmcore-sanitized PRIVATE _GLIBCXX_ASSERTIONS)
# With the checks in between, gcc 12 takes more for uninitialized than there is.
target_compile_options(llmcore-sanitized PRIVATE ${sanitizers} -fno-omit-frame-pointer -g -O1 -Wno-error)
target_link_options(llmcore-sanitized PRIVATE ${sanitizers})

# By links, since the loader looks beside the library.
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

# What a Python that loads the library must have loaded before (LD_PRELOAD): the sanitizer, and libstdc++, which Python itself does
# not need, and where the sanitizer looks up how exceptions are thrown at its very start.
set(first "")
foreach(name libasan.so libstdc++.so)
    execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -print-file-name=${name} OUTPUT_VARIABLE file OUTPUT_STRIP_TRAILING_WHITESPACE)
    list(APPEND first "${file}")
endforeach()
list(JOIN first " " first)
file(WRITE "${folder}/preload" "${first}")
