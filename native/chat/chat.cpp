// Chat templates by llama-common: JSON in, JSON out.
#include "chat/bounded_rendering.h"
#include "chat/chat_rendering.h"
#include "chat/chat_request.h"
#include "chat/content_marks.h"
#include "chat/marked_tokens.h"
#include "chat/prompted_tools.h"
#include "chat/special_texts.h"
#include "shim/abort_guard.h"
#include "shim/error.h"
#include "shim/llmcore.h"

#include "chat-peg-parser.h"
#include "chat.h"
#include "log.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>

struct lc_chat {
    common_chat_templates_ptr templates;
    common_chat_templates_ptr answer_templates; // see compile_for_answers(); usually NULL
    std::string               sources;          // of the template and of its variant for tools

    // NULL without a model.
    const llama_vocab *               vocab = nullptr;
    std::unique_ptr<lc::SpecialTexts> specials;

    // Found by rendering probes when the first request is rendered. The mutex is needed because several threads may render.
    std::mutex          probe_mutex;
    std::optional<bool> supports_tools;
    std::optional<bool> can_think;

    lc::ChatTemplates resolved() const {
        return {templates.get(), answer_templates != nullptr ? answer_templates.get() : templates.get(), *supports_tools};
    }
};

namespace {

// Silences llama-common's log, which has no callback: it is written to stderr by a thread of its own, which thus never starts.
// Failures come as exceptions.
void silence_common_log() {
    static const bool is_done = [] {
        common_log_set_verbosity_thold(-1);
        return true;
    }();
    (void) is_done;
}

// Throws the reason why a template does not compile. llama-common rethrows it as a bare std::exception without the message, so the
// template is compiled once more.
[[noreturn]] void rethrow_template_error(const std::string & source) {
    try {
        common_chat_template probe(source, "", "");
    } catch (const std::exception & e) {
        throw std::runtime_error(std::string("the chat template cannot be used: ") + e.what());
    }
    throw;
}

common_chat_templates_ptr compile_templates(const llama_model * model, const char * template_override) {
    const std::string source = template_override != nullptr ? template_override : "";
    try {
        return common_chat_templates_init(model, source);
    } catch (const std::exception &) {
        const char * own = source.empty() ? llama_model_chat_template(model, nullptr) : nullptr;
        rethrow_template_error(own != nullptr ? own : source);
    }
}

// Compiles the template without an EOS token for reading answers, if it is Mistral Small 3.2's; returns NULL for all others.
// llama-common learns the form of a template's calls by rendering some. With an EOS it takes this template's [ARGS] for the end of
// the function's name, and then parses no call. (Its own tests have no EOS.)
common_chat_templates_ptr compile_for_answers(const llama_model * model, const common_chat_templates * templates) {
    const std::string source      = common_chat_templates_source(templates);
    const bool        is_affected = source.find("[CALL_ID]") != std::string::npos && source.find("eos_token") != std::string::npos;
    if (!is_affected || model == nullptr) {
        return nullptr;
    }
    const llama_vocab * vocab = llama_model_get_vocab(model);
    const llama_token   bos   = llama_vocab_bos(vocab);
    return common_chat_templates_init(nullptr, source, bos == LLAMA_TOKEN_NULL ? "" : common_token_to_piece(vocab, bos, true), "");
}

// True if the template's answers may contain reasoning that llama-common separates from the content. Throws if the template cannot
// render any message.
bool can_think(const common_chat_templates * templates) {
    try {
        return common_chat_templates_support_enable_thinking(templates);
    } catch (const std::exception & e) {
        throw std::runtime_error(std::string("the chat template cannot render a message: ") + e.what());
    }
}

std::string sources_of(const common_chat_templates * templates) {
    const std::string source = common_chat_templates_source(templates), variant = common_chat_templates_source(templates, "tool_use");
    return variant == source ? source : source + "\n" + variant;
}

// Returns the request with its marks. The first mark is tried without a look at the request, because most have nothing to mark.
lc::MarkedRequest mark_request(const lc_chat & chat, const lc::ChatRequest & request, const char * text) {
    if (!request.marks_special_texts || chat.specials == nullptr || !chat.specials->has_guarded()) {
        return {};
    }
    for (std::string mark = lc::choose_mark("", "");;) {
        lc::MarkedRequest marked = {request, mark};
        if (!lc::ContentMarks(*chat.specials, mark, request.kept_texts).apply(marked.request.inputs)) {
            return {};
        }
        const std::string unused = lc::choose_mark(text, chat.sources);
        if (mark == unused) {
            return marked;
        }
        mark = unused;
    }
}

bool is_probed(lc_chat & chat) {
    const std::lock_guard<std::mutex> lock(chat.probe_mutex);
    return chat.can_think.has_value() && chat.supports_tools.has_value();
}

void probe_templates(lc_chat & chat) {
    const std::lock_guard<std::mutex> lock(chat.probe_mutex);
    if (!chat.can_think.has_value()) {
        chat.can_think = can_think(chat.templates.get());
    }
    if (!chat.supports_tools.has_value()) {
        chat.supports_tools = lc::supports_tool_calls(chat.templates.get());
    }
}

} // namespace

lc_chat * lc_chat_new(const llama_model * model, const char * template_override) {
    return lc::guard_new([&] {
        lc::require(model != nullptr || template_override != nullptr, "model: must not be NULL");
        lc::require(template_override == nullptr || *template_override != '\0', "template_override: must not be empty");
        silence_common_log();
        auto chat = std::make_unique<lc_chat>();
        lc::render_bounded(0, [&] {
            chat->templates        = compile_templates(model, template_override);
            chat->answer_templates = compile_for_answers(model, chat->templates.get());
            chat->sources          = sources_of(chat->templates.get());
            if (template_override != nullptr) {
                // A template that the user chose must render. A model's own may fail: the model still serves completions.
                chat->can_think = can_think(chat->templates.get());
            }
        });
        if (model != nullptr) {
            chat->vocab    = llama_model_get_vocab(model);
            chat->specials = std::make_unique<lc::SpecialTexts>(chat->vocab, chat->sources);
        }
        return chat.release();
    });
}

void lc_chat_free(lc_chat * chat) {
    delete chat;
}

lc_status lc_chat_render(lc_chat * chat, const char * request, char ** out) {
    return lc::guard([&] {
        lc::require(chat != nullptr, "chat: must not be NULL");
        lc::require(request != nullptr, "request: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        if (!is_probed(*chat)) {
            lc::render_bounded(0, [&] { probe_templates(*chat); });
        }
        lc::render_bounded(std::strlen(request), [&] {
            const lc::ChatRequest   parsed = lc::parse_chat_request(request, *chat->can_think);
            const lc::MarkedRequest marked = mark_request(*chat, parsed, request);
            *out                           = lc::copy_string(lc::render_chat(chat->resolved(), parsed, marked));
        });
    });
}

int32_t lc_chat_tokenize(const lc_chat * chat, const char * text, int32_t size, const char * mark, llama_token * tokens,
                         int32_t n_max, bool add_special) {
    int32_t n = INT32_MIN;
    lc::guard([&] {
        lc::clear_error();
        lc::require(chat != nullptr && chat->specials != nullptr, "chat: must have a model");
        lc::require(text != nullptr && mark != nullptr && *mark != '\0', "text, mark: must not be NULL or empty");
        const lc::AbortGuard guard;
        const std::vector<llama_token> found =
            lc::tokenize_marked(chat->vocab, *chat->specials, std::string(text, size), mark, add_special);
        if (found.size() <= static_cast<size_t>(n_max)) {
            std::copy(found.begin(), found.end(), tokens);
            n = static_cast<int32_t>(found.size());
        } else {
            n = -static_cast<int32_t>(found.size());
        }
    });
    return n;
}

lc_status lc_chat_describe(lc_chat * chat, char ** out) {
    return lc::guard([&] {
        lc::require(chat != nullptr, "chat: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        const common_chat_templates * templates = chat->templates.get();
        lc::render_bounded(0, [&] {
            const common_json description = {
                {"source", common_chat_templates_source(templates)},
                {"caps", common_chat_templates_get_caps(templates)},
                {"explicit", common_chat_templates_was_explicit(templates)},
                {"knows_tools", lc::supports_tool_calls(templates)},
            };
            *out = lc::copy_string(description.dump_safe());
        });
    });
}
