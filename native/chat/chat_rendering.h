// Renders a chat request: the prompt, and how its answers are constrained and parsed.
#pragma once

#include "chat/chat_request.h"

#include "chat.h"

#include <string>

namespace lc {

struct ChatTemplates {
    const common_chat_templates * for_prompts;
    const common_chat_templates * for_answers; // for grammar and parser of the answers; usually the same
    bool                          supports_tools;
};

// A request in which the special tokens' texts that the caller wrote carry a mark.
struct MarkedRequest {
    ChatRequest request;
    std::string mark; // "" if there was nothing to mark; `request` is then of no use
};

// Returns the JSON response of lc_chat_render(). Throws InvalidArgument, or what the template throws.
std::string render_chat(const ChatTemplates & templates, const ChatRequest & request, const MarkedRequest & marked);

} // namespace lc
