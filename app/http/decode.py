"""Decoding of JSON bodies into typed requests. Errors name the path of the invalid field."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from llmcore.log import cut

from .errors import ApiError, invalid

T = TypeVar("T")

# msgspec's messages end in the place of the error: "... - at `$.messages[0].content`".
_PLACE = re.compile(r" - at (?P<key>`key` in )?`(?P<path>\$[^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_VALUE = re.compile(r"Invalid value '(.*)'", re.DOTALL)

_OPENAI_TOOL_TYPES = (
    *("custom", "namespace", "mcp", "shell", "local_shell", "apply_patch", "tool_search", "programmatic_tool_calling"),
    *("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11", "file_search"),
    *("code_interpreter", "image_generation", "computer", "computer_use_preview"),
)
# Tools that run at Anthropic's servers.
_ANTHROPIC_TOOLS = (
    *("web_search", "web_fetch", "code_execution", "bash_code_execution", "text_editor_code_execution", "tool_search"),
    "mcp",
)
# Values of OpenAI's and Anthropic's APIs that this service does not support, for a better message than "invalid":
# (field, value) -> reason.
_UNSUPPORTED_VALUES = {
    ("role", "function"): "function results are not supported",
    **{("type", each): "only functions are supported" for each in _OPENAI_TOOL_TYPES},
    ("type", "image_url"): "images are not supported",
    ("type", "input_image"): "images are not supported",
    ("type", "input_audio"): "audio is not supported",
    ("type", "file"): "files are not supported",
    ("type", "input_file"): "files are not supported",
    ("type", "image"): "images are not supported",
    ("type", "document"): "documents are not supported",
    ("type", "search_result"): "search results are not supported",
    ("type", "tool_reference"): "references to tools are not supported",
    ("type", "container_upload"): "files are not supported",
    ("type", "server_tool_use"): "only tools that the caller runs are supported",
    **{("type", f"{each}_tool_result"): "only tools that the caller runs are supported" for each in _ANTHROPIC_TOOLS},
}


def decode(decoder: msgspec.json.Decoder[T], body: bytes, path: str = "") -> T:
    """Returns `body` as the decoder's type. `path` is its place in the request's body. Raises ApiError (400)."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error), path) from None
    except UnicodeDecodeError:
        raise invalid("invalid_json", "The body is not valid UTF-8.") from None
    except msgspec.DecodeError as error:
        message = str(error)
        if "truncated" in message:
            message = f"JSON is malformed: it ends too early (byte {len(body)})"
        raise invalid("invalid_json", f"The body cannot be parsed: {message}.") from None
    except RecursionError:
        raise invalid("invalid_json", "The body is nested too deeply.") from None


def _invalid_field(message: str, root: str) -> ApiError:
    """Returns the error for a message of msgspec.ValidationError."""
    place = _PLACE.search(message)
    problem = message[: place.start()] if place else message
    path = root + place["path"].removeprefix("$") if place else root
    path = path.removeprefix(".")
    if match := _UNKNOWN.fullmatch(problem):
        param = _join(path, cut(match[1]))
        return invalid("unknown_parameter", f"Unknown parameter: {param}", param)
    if match := _MISSING.fullmatch(problem):
        param = _join(path, cut(match[1]))
        return invalid("missing_required_parameter", f"Missing required parameter: {param}", param)
    name = path.rpartition(".")[2]
    if (match := _VALUE.fullmatch(problem)) and (name, match[1]) in _UNSUPPORTED_VALUES:
        reason = _UNSUPPORTED_VALUES[name, match[1]]
        return invalid("unsupported_value", f"{path}: {cut(match[1])!r} is not supported: {reason}.", path)
    code = "invalid_type" if ", got " in problem else "invalid_value"
    where = f"a key of {path}" if place and place["key"] else path or "the body"
    return invalid(code, f"Invalid {where}: {cut(problem)}", path or None)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
