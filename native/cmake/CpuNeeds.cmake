# Writes cpu.json: the CPU features that these libraries need, which llmcore/machine/cpufeatures.py checks before it loads them.
# They are the macros that the compiler defines with the flags of ggml's CPU code, or, if that is chosen at run time, with the
# user's flags only.

separate_arguments(cpu_flags NATIVE_COMMAND "${CMAKE_CXX_FLAGS}")
if(TARGET ggml-cpu)
    get_target_property(cpu_options ggml-cpu COMPILE_OPTIONS)
    list(FILTER cpu_options INCLUDE REGEX "^-(m|[DU]__ARM_)")
    list(APPEND cpu_flags ${cpu_options})
endif()
execute_process(COMMAND "${CMAKE_CXX_COMPILER}" ${cpu_flags} -dM -E -x c++ /dev/null
                OUTPUT_VARIABLE cpu_macros RESULT_VARIABLE failed)
if(failed)
    message(FATAL_ERROR "The compiler does not print its macros: ${CMAKE_CXX_COMPILER} ${cpu_flags} -dM -E")
endif()
string(REGEX MATCHALL "#define __[A-Z0-9_]+ 1\n" cpu_macros "${cpu_macros}")
list(TRANSFORM cpu_macros REPLACE "#define (__[A-Z0-9_]+) 1\n" "\"\\1\"")
list(SORT cpu_macros)
list(JOIN cpu_macros ", " cpu_macros)

# The CPU flags that this machine's kernel lists. A kernel older than the CPU does not list every feature that the compiler
# uses, and a feature that it does not list cannot be checked later.
set(cpu_flags_here "")
if(GGML_NATIVE AND EXISTS /proc/cpuinfo)
    file(STRINGS /proc/cpuinfo cpu_flags_here REGEX "^(flags|Features)[ \t]*:" LIMIT_COUNT 1)
    string(REGEX MATCHALL "[a-z0-9_]+" cpu_flags_here "${cpu_flags_here}")
    list(REMOVE_ITEM cpu_flags_here flags eatures)
    list(TRANSFORM cpu_flags_here REPLACE "(.+)" "\"\\1\"")
    list(JOIN cpu_flags_here ", " cpu_flags_here)
endif()

file(WRITE "${CMAKE_BINARY_DIR}/cpu.json"
     "{\"architecture\": \"${CMAKE_SYSTEM_PROCESSOR}\", \"cpu_build\": \"${LLMCORE_CPU}\",\n"
     " \"macros\": [${cpu_macros}],\n \"flags_at_build\": [${cpu_flags_here}]}\n")
