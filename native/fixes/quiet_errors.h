// Force-included into llama.cpp's llama-grammar.cpp and json-schema-to-grammar.cpp, and into nothing else (see LlamaCpp.cmake).
//
// Both print what they cannot parse to standard error: whole grammars, and words of a caller's schema, past every log setting.
// A service must not (no words of requests in its log unless asked for), and nothing is lost: a grammar that is none comes back
// as an error, and what of a schema no grammar can hold is found, and told, before (llmcore/toolschema.py).
#pragma once

#include <cstdio>

#define fprintf(stream, ...) ((stream) == stderr ? 0 : std::fprintf(stream, __VA_ARGS__))
