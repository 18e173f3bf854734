// Force-included into llama.cpp's llama-grammar.cpp and json-schema-to-grammar.cpp only (native/cmake/Fixes.cmake).
//
// Both print what they cannot parse to standard error: whole grammars, and text of a caller's schema, whatever the log level. A
// service must not log the text of requests unless it is told to. Nothing is lost: a grammar that does not parse is returned as an
// error, and llmcore/llama/tool_schema.py reports what a grammar cannot enforce.
#pragma once

#include <cstdio>

#define fprintf(stream, ...) ((stream) == stderr ? 0 : std::fprintf(stream, __VA_ARGS__))
