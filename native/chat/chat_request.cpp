#include "chat/chat_request.h"

#include "shim/error.h"

namespace lc {

namespace {

constexpr const char * FIELDS[] = {
    "messages",  "add_generation_prompt", "continue_final_message", "tools", "held_tools", "tool_choice",
    "tool_name", "parallel_tool_calls",   "chat_template_kwargs",   "kept_texts"};

// Parses a JSON object that has no fields but FIELDS.
common_json parse_object(const char * text) {
    common_json request = common_json::parse_no_throw(text);
    require(!request.is_discarded() && request.is_object(), "request: is not a JSON object");
    for (const auto & item : request.items()) {
        bool is_known = false;
        for (const char * name : FIELDS) {
            is_known = is_known || item.key() == name;
        }
        if (!is_known) {
            throw InvalidArgument("request: unknown field '" + item.key() + "'");
        }
    }
    require(request.contains("messages"), "messages: missing");
    return request;
}

bool get_bool(const common_json & request, const char * name, bool default_value) {
    if (!request.contains(name)) {
        return default_value;
    }
    if (!request.at(name).is_boolean()) {
        throw InvalidArgument(std::string(name) + ": must be true or false");
    }
    return request.at(name).get<bool>();
}

std::string get_string(const common_json & request, const char * name) {
    if (!request.contains(name)) {
        return "";
    }
    if (!request.at(name).is_string()) {
        throw InvalidArgument(std::string(name) + ": must be a string");
    }
    return request.at(name).get<std::string>();
}

void read_template_kwargs(const common_json & request, common_chat_templates_inputs & inputs) {
    // Like llama-server. A follow-up's prompt then repeats the conversation with its reasoning, so that the prefix cache finds it.
    inputs.chat_template_kwargs["preserve_reasoning"] = "true";
    if (!request.contains("chat_template_kwargs")) {
        return;
    }
    const common_json & kwargs = request.at("chat_template_kwargs");
    require(kwargs.is_object(), "chat_template_kwargs: must be an object");
    for (const auto & item : kwargs.items()) {
        inputs.chat_template_kwargs[item.key()] = item.value().dump();
    }
    // A template variable, but llama-common also chooses the parser by it.
    require(!kwargs.contains("enable_thinking") || kwargs.at("enable_thinking").is_boolean(),
            "chat_template_kwargs.enable_thinking: must be true or false");
    inputs.enable_thinking = get_bool(kwargs, "enable_thinking", inputs.enable_thinking);
}

void read_continuation(const common_json & request, common_chat_templates_inputs & inputs) {
    if (!get_bool(request, "continue_final_message", false)) {
        return;
    }
    require(!inputs.messages.empty() && inputs.messages.back().role == "assistant",
            "continue_final_message: the last message is not the assistant's");
    require(inputs.messages.back().tool_calls.empty(), "continue_final_message: a message with tool calls is complete");
    inputs.continue_final_message = COMMON_CHAT_CONTINUATION_AUTO;
    inputs.add_generation_prompt  = false;
}

void read_tools(const common_json & request, ChatRequest & out) {
    if (!request.contains("tools")) {
        return;
    }
    out.inputs.tools        = common_chat_tools_parse_oaicompat(request.at("tools"));
    out.has_own_constraints = request.contains("held_tools");
    out.constrained_tools   = out.has_own_constraints ? common_chat_tools_parse_oaicompat(request.at("held_tools"))
                                                      : out.inputs.tools;
    require(out.constrained_tools.size() == out.inputs.tools.size(), "held_tools: must be as many as tools");
}

void read_kept_texts(const common_json & request, ChatRequest & out) {
    out.marks_special_texts = request.contains("kept_texts");
    if (!out.marks_special_texts) {
        return;
    }
    for (const common_json & text : request.at("kept_texts")) {
        out.kept_texts.push_back(text.get<std::string>());
    }
}

} // namespace

ChatRequest parse_chat_request(const char * text, bool can_think) {
    const common_json              request = parse_object(text);
    ChatRequest                    out;
    common_chat_templates_inputs & inputs = out.inputs;
    inputs.enable_thinking                = can_think;
    try {
        inputs.messages = common_chat_msgs_parse_oaicompat(request.at("messages"));
        read_tools(request, out);
        if (request.contains("tool_choice")) {
            inputs.tool_choice = common_chat_tool_choice_parse_oaicompat(get_string(request, "tool_choice"));
        }
        out.tool_name                = get_string(request, "tool_name");
        inputs.parallel_tool_calls   = get_bool(request, "parallel_tool_calls", true);
        inputs.add_generation_prompt = get_bool(request, "add_generation_prompt", true);
        inputs.reasoning_format      = COMMON_REASONING_FORMAT_DEEPSEEK;
        read_continuation(request, inputs);
        read_template_kwargs(request, inputs);
        read_kept_texts(request, out);
    } catch (const InvalidArgument &) {
        throw;
    } catch (const std::exception & e) {
        throw InvalidArgument(e.what()); // llama-common's complaint about the caller's JSON
    }
    return out;
}

std::vector<common_chat_tool> ChatRequest::callable_tools(const std::vector<common_chat_tool> & tools) const {
    if (tool_name.empty()) {
        return tools;
    }
    for (const common_chat_tool & tool : tools) {
        if (tool.name == tool_name) {
            return {tool};
        }
    }
    throw InvalidArgument("tool_name: there is no tool '" + tool_name + "'");
}

} // namespace lc
