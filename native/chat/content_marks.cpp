#include "chat/content_marks.h"

#include "shim/error.h"

#include <algorithm>
#include <cctype>
#include <cstdio>

namespace lc {

namespace {

constexpr uint32_t FIRST_MARK = 0xE000, LAST_MARK = 0xF8FF; // Unicode's private-use area

// Roles that templates know. Another one is text of the caller's.
constexpr const char * ROLES[] = {"system", "developer", "user", "assistant", "tool", "function"};

// JSON Schema's own words, which templates compare.
constexpr const char * TYPES[] = {"object", "array", "string", "number", "integer", "boolean", "null"};

// Keys of a schema below which the keys are names.
constexpr const char * NAME_MAPS[] = {"properties", "patternProperties", "dependentRequired"};

template <size_t N> bool is_one_of(const std::string & text, const char * const (&texts)[N]) {
    return std::any_of(std::begin(texts), std::end(texts), [&](const char * each) { return text == each; });
}

std::string utf8_of_mark(uint32_t code) {
    return {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
            static_cast<char>(0x80 | (code & 0x3F))};
}

uint32_t code_of_mark(const std::string & mark) {
    return uint32_t(mark[0] & 0x0F) << 12 | uint32_t(mark[1] & 0x3F) << 6 | uint32_t(mark[2] & 0x3F);
}

// The digits of a mark's \uXXXX.
std::string digits_of_mark(uint32_t code) {
    char digits[8];
    std::snprintf(digits, sizeof(digits), "%04x", code);
    return digits;
}

size_t character_size(const std::string & text, size_t at) {
    size_t n = 1;
    while (at + n < text.size() && (text[at + n] & 0xC0) == 0x80) {
        n++;
    }
    return n;
}

bool is_space(char byte) {
    return std::isspace(static_cast<unsigned char>(byte)) != 0;
}

// Returns the end of the JSON string that begins at `at` with its quote, behind the closing one; npos if it does not end.
size_t end_of_literal(const std::string & text, size_t at) {
    for (size_t i = at + 1; i < text.size(); i++) {
        if (text[i] == '\\') {
            i++;
        } else if (text[i] == '"') {
            return i + 1;
        }
    }
    return std::string::npos;
}

} // namespace

std::string choose_mark(std::string_view request, std::string_view template_source) {
    std::string texts(request);
    texts += template_source;
    std::transform(texts.begin(), texts.end(), texts.begin(), [](unsigned char byte) { return std::tolower(byte); });
    for (uint32_t code = FIRST_MARK; code <= LAST_MARK; code++) {
        const std::string mark = utf8_of_mark(code);
        const bool is_used = request.find(mark) != std::string_view::npos || template_source.find(mark) != std::string_view::npos ||
                             texts.find("u" + digits_of_mark(code)) != std::string::npos;
        if (!is_used) {
            return mark;
        }
    }
    throw InvalidArgument("messages: they contain every private-use character of Unicode's first plane");
}

std::string unescape_marks(const std::string & rendered, const std::string & mark) {
    const std::string escaped = "u" + digits_of_mark(code_of_mark(mark));
    std::string       out;
    size_t            start = 0;
    for (size_t at = rendered.find(escaped); at != std::string::npos; at = rendered.find(escaped, start)) {
        size_t end = at;
        while (end > start && rendered[end - 1] == '\\') { // JSON within JSON doubles the backslash
            end--;
        }
        out.append(rendered, start, end - start).append(mark);
        start = at + escaped.size();
    }
    return out.append(rendered, start);
}

std::string remove_marks(const std::string & text, const std::string & mark) {
    std::string out;
    size_t      start = 0;
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, start)) {
        out.append(text, start, at - start);
        start = at + mark.size();
    }
    return out.append(text, start);
}

ContentMarks::ContentMarks(const SpecialTexts & specials, std::string mark, const std::vector<std::string> & kept)
    : specials_(specials), mark_(std::move(mark)), kept_(kept) {}

bool ContentMarks::apply(common_chat_templates_inputs & inputs) {
    for (common_chat_msg & message : inputs.messages) {
        mark_message(message);
    }
    for (common_chat_tool & tool : inputs.tools) {
        tool.name        = mark_name(tool.name);
        tool.description = mark_text(tool.description);
        tool.parameters  = mark_parameters(tool.parameters);
    }
    for (auto & variable : inputs.chat_template_kwargs) {
        variable.second = mark_variable(variable.second);
    }
    return is_changed_;
}

void ContentMarks::mark_message(common_chat_msg & message) {
    const bool is_answer = message.role == "assistant";
    message.role         = mark_role(message.role);
    message.content      = is_answer ? mark_answer(message.content) : mark_text(message.content);
    for (common_chat_msg_content_part & part : message.content_parts) {
        part.text = is_answer ? mark_answer(part.text) : mark_text(part.text);
    }
    message.reasoning_content = mark_text(message.reasoning_content);
    message.tool_name         = mark_name(message.tool_name);
    message.tool_call_id      = mark_text(message.tool_call_id);
    for (common_chat_tool_call & call : message.tool_calls) {
        call.name      = mark_name(call.name);
        call.id        = mark_text(call.id);
        call.arguments = mark_json_text(call.arguments);
    }
}

std::string ContentMarks::mark_role(const std::string & role) {
    return is_one_of(role, ROLES) ? role : mark_name(role);
}

// Marks the strings of a JSON text, and leaves all else as the caller wrote it. Text that is no JSON is marked as a whole.
std::string ContentMarks::mark_json_text(const std::string & text) {
    if (common_json::parse_no_throw(text).is_discarded()) {
        return mark_text(text);
    }
    std::string out;
    size_t      start = 0;
    for (size_t at = text.find('"'); at != std::string::npos; at = text.find('"', start)) {
        const size_t end = end_of_literal(text, at);
        if (end == std::string::npos) {
            break;
        }
        size_t next = end;
        while (next < text.size() && is_space(text[next])) {
            next++;
        }
        const bool is_key = next < text.size() && text[next] == ':';
        out.append(text, start, at - start).append(mark_literal(text.substr(at, end - at), is_key));
        start = end;
    }
    return out.append(text, start);
}

// Marks a JSON string with its quotes.
std::string ContentMarks::mark_literal(const std::string & literal, bool is_name) {
    const common_json decoded = common_json::parse_no_throw(literal);
    if (!decoded.is_string()) {
        return literal;
    }
    const std::string text   = decoded.get<std::string>();
    const std::string marked = is_name ? mark_name(text) : mark_text(text);
    if (marked == text) {
        return literal;
    }
    return literal.find('\\') == std::string::npos ? "\"" + marked + "\"" : common_json::make(marked).dump_safe();
}

std::string ContentMarks::mark_parameters(const std::string & schema) {
    const common_json parsed = common_json::parse_no_throw(schema);
    if (parsed.is_discarded()) {
        return mark_text(schema);
    }
    const bool was_changed = is_changed_;
    is_changed_            = false;
    const common_json marked  = mark_value(parsed, false, true);
    const std::string written = is_changed_ ? marked.dump() : schema;
    is_changed_               = is_changed_ || was_changed;
    return written;
}

std::string ContentMarks::mark_variable(const std::string & value) {
    const bool was_changed = is_changed_;
    is_changed_            = false;
    const common_json marked  = mark_value(common_json::parse(value), false, false);
    const std::string written = is_changed_ ? marked.dump() : value;
    is_changed_               = is_changed_ || was_changed;
    return written;
}

// `has_names`: the keys of this object, or the texts of this list, are names that the caller chose.
common_json ContentMarks::mark_value(const common_json & value, bool has_names, bool is_schema) {
    if (value.is_string()) {
        const std::string text = value.get<std::string>();
        if (is_schema && is_one_of(text, TYPES)) {
            return value;
        }
        return common_json::make(has_names ? mark_name(text) : mark_text(text));
    }
    if (value.is_array()) {
        common_json out = common_json::array();
        for (const common_json & item : value) {
            out.push_back(mark_value(item, has_names, is_schema));
        }
        return out;
    }
    return value.is_object() ? mark_object(value, has_names, is_schema) : value;
}

common_json ContentMarks::mark_object(const common_json & value, bool has_names, bool is_schema) {
    common_json out = common_json::object();
    for (const auto & item : value.items()) {
        const std::string key          = item.key();
        const bool        is_keyword   = is_schema && !has_names;
        const bool        holds_names  = is_keyword && (is_one_of(key, NAME_MAPS) || key == "required");
        const std::string written      = has_names ? mark_name(key) : mark_text(key);
        out[written]                   = mark_value(item.value(), holds_names, is_schema);
    }
    return out;
}

// Returns, for each byte of an assistant message's content, the length of the special text that begins there within a text that the
// template looks for; 0 for none.
std::vector<size_t> ContentMarks::kept_sizes(const std::string & text) const {
    std::vector<size_t> sizes(text.size());
    for (const std::string & kept : kept_) {
        for (size_t at = text.find(kept); at != std::string::npos; at = text.find(kept, at + kept.size())) {
            for (size_t i = 0; i < kept.size(); i++) {
                sizes[at + i] = std::max(sizes[at + i], specials_.match(kept, i).longest);
            }
        }
    }
    return sizes;
}

// Returns where marks belong in `text`: behind the first character of each special token's text. `kept` may be empty.
std::vector<size_t> ContentMarks::positions(const std::string & text, const std::vector<size_t> & kept, bool is_name) const {
    std::vector<size_t> found;
    for (size_t at = 0; at < text.size(); at++) {
        const SpecialTexts::Match match = specials_.match(text, at);
        const bool is_kept = !match.ends_answer && !kept.empty() && kept[at] == match.longest;
        if (match.longest > 0 && !is_kept) {
            found.push_back(at + (match.is_single ? 0 : character_size(text, at)));
        }
    }
    add_edges(text, found);
    if (is_name && found.empty() && specials_.is_inside(text)) {
        found.push_back(character_size(text, 0));
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
}

// Adds the edges of `text` that the template's text beside it could complete to a special token's text.
void ContentMarks::add_edges(const std::string & text, std::vector<size_t> & positions) const {
    size_t start = 0, end = text.size(); // templates trim white space
    while (start < end && is_space(text[start])) {
        start++;
    }
    while (end > start && is_space(text[end - 1])) {
        end--;
    }
    const std::string_view trimmed = std::string_view(text).substr(start, end - start);
    if (specials_.ends_with_beginning(trimmed)) {
        positions.push_back(end);
    }
    if (specials_.begins_with_end(trimmed)) {
        positions.push_back(start);
    }
}

std::string ContentMarks::insert(const std::string & text, const std::vector<size_t> & positions) {
    if (positions.empty()) {
        return text;
    }
    is_changed_ = true;
    std::string out;
    size_t      start = 0;
    for (const size_t at : positions) {
        out.append(text, start, at - start).append(mark_);
        start = at;
    }
    return out.append(text, start);
}

} // namespace lc
