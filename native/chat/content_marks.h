// Marks special tokens' texts in what the caller wrote, before a template renders it. A mark is a private-use character inside of
// such a text, so that the tokenizer finds no special token there; tokenize_marked() removes it again.
#pragma once

#include "chat/chat_request.h"
#include "chat/special_texts.h"

#include <string>
#include <string_view>
#include <vector>

namespace lc {

// Returns a private-use character that is neither in `request` (JSON), spelled or escaped, nor in `template_source`. Throws
// InvalidArgument if all are.
std::string choose_mark(std::string_view request, std::string_view template_source);

// Removes the marks of a rendered text. Marks that the template escaped as \uXXXX become `mark` first.
std::string unescape_marks(const std::string & rendered, const std::string & mark);
std::string remove_marks(const std::string & text, const std::string & mark);

class ContentMarks {
public:
    // `kept` are texts that the template looks for in the content of assistant messages; they are left there, unless they end an
    // answer.
    ContentMarks(const SpecialTexts & specials, std::string mark, const std::vector<std::string> & kept);

    // Marks messages, tools and template variables. Returns true if there was anything to mark.
    bool apply(common_chat_templates_inputs & inputs);

private:
    const SpecialTexts &             specials_;
    const std::string                mark_;
    const std::vector<std::string> & kept_;
    bool                             is_changed_ = false;

    void mark_message(common_chat_msg & message);
    std::string mark_text(const std::string & text) { return insert(text, positions(text, {}, false)); }
    std::string mark_answer(const std::string & text) { return insert(text, positions(text, kept_sizes(text), false)); }
    std::string mark_name(const std::string & text) { return insert(text, positions(text, {}, true)); }
    std::string mark_role(const std::string & role);
    std::string mark_json_text(const std::string & text);
    std::string mark_literal(const std::string & literal, bool is_name);
    std::string mark_parameters(const std::string & schema);
    std::string mark_variable(const std::string & value);
    common_json mark_value(const common_json & value, bool has_names, bool is_schema);
    common_json mark_object(const common_json & value, bool has_names, bool is_schema);

    std::vector<size_t> kept_sizes(const std::string & text) const;
    std::vector<size_t> positions(const std::string & text, const std::vector<size_t> & kept, bool is_name) const;
    void add_edges(const std::string & text, std::vector<size_t> & positions) const;
    std::string insert(const std::string & text, const std::vector<size_t> & positions);
};

} // namespace lc
