# Corrections of llama.cpp, each a header of native/fixes that is force-included into the files that it corrects. The header
# gives the reason.

# llmcore_fix(header folder file...): properties of single files belong to the directory of their target, `folder`.
function(llmcore_fix header folder)
    set(header "${PROJECT_SOURCE_DIR}/native/fixes/${header}")
    foreach(file IN LISTS ARGN)
        set_property(SOURCE "${LLAMA_CPP_DIR}/${folder}/${file}" DIRECTORY "${LLAMA_CPP_DIR}/${folder}"
                     APPEND PROPERTY COMPILE_OPTIONS -include "${header}")
        set_property(SOURCE "${LLAMA_CPP_DIR}/${folder}/${file}" DIRECTORY "${LLAMA_CPP_DIR}/${folder}"
                     APPEND PROPERTY OBJECT_DEPENDS "${header}")
    endforeach()
endfunction()

llmcore_fix(amx_tile_loadconfig.h ggml/src ggml-cpu/amx/mmq.cpp)
llmcore_fix(plamo2_sequences.h src models/plamo2.cpp)
llmcore_fix(cogvlm_outputs.h src models/cogvlm.cpp)
llmcore_fix(rwkv_sequences.h src models/rwkv6qwen2.cpp models/arwkv7.cpp)

set(jinja_fix "${PROJECT_SOURCE_DIR}/native/fixes/bounded_jinja.h")
target_compile_options(llama-common PRIVATE "SHELL:-include \"${jinja_fix}\"")
get_target_property(sources llama-common SOURCES)
set_property(SOURCE ${sources} DIRECTORY "${LLAMA_CPP_DIR}/common" APPEND PROPERTY OBJECT_DEPENDS "${jinja_fix}")
set_property(SOURCE "${LLAMA_CPP_DIR}/common/jinja/value.cpp" DIRECTORY "${LLAMA_CPP_DIR}/common"
             APPEND PROPERTY COMPILE_DEFINITIONS LLMCORE_JINJA_HOME)
set_property(SOURCE "${LLAMA_CPP_DIR}/common/jinja/string.cpp" DIRECTORY "${LLAMA_CPP_DIR}/common"
             APPEND PROPERTY COMPILE_DEFINITIONS LLMCORE_JINJA_STRINGS)
