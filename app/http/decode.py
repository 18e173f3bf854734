"""JSON bodies to typed requests; what is wrong with one is told by the path of the field at fault."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from llmcore.log import cut

from .errors import ApiError, invalid

T = TypeVar("T")

# msgspec tells the place at the end of its messages: "... - at `$.messages[0].content`".
_PLACE = re.compile(r" - at (?P<key>`key` in )?`(?P<path>\$[^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_VALUE = re.compile(r"Invalid value '(.*)'", re.DOTALL)

_TOOLS_OF_OPENAI = (
    *("custom", "namespace", "mcp", "shell", "local_shell", "apply_patch", "tool_search", "programmatic_tool_calling"),
    *("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11", "file_search"),
    *("code_interpreter", "image_generation", "computer", "computer_use_preview"),
)
# Values that OpenAI's API knows, and this service does not (yet): the answer says which, not just "invalid".
_UNSUPPORTED_VALUES = {
    ("role", "function"): "function results are not supported",
    **{("type", kind): "only functions are supported" for kind in _TOOLS_OF_OPENAI},
    ("type", "allowed_tools"): "name one function, or leave out the tools that are not allowed",
    ("type", "image_url"): "images are not supported",
    ("type", "input_image"): "images are not supported",
    ("type", "input_audio"): "audio is not supported",
    ("type", "file"): "files are not supported",
    ("type", "input_file"): "files are not supported",
    ("type", "refusal"): "refusal parts are not supported",
}


def decode(decoder: msgspec.json.Decoder[T], body: bytes, path: str = "") -> T:
    """The body, or what stands at `path` of it, as the decoder's type. Raises ApiError (400)."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _of_validation(str(error), path) from None
    except UnicodeDecodeError:
        raise invalid("invalid_json", "The body is not valid UTF-8.") from None
    except msgspec.DecodeError as error:
        message = str(error)
        if "truncated" in message:
            message = f"JSON is malformed: it ends too early (byte {len(body)})"
        raise invalid("invalid_json", f"The body cannot be parsed: {message}.") from None
    except RecursionError:
        raise invalid("invalid_json", "The body is nested too deeply.") from None


def _of_validation(message: str, root: str) -> ApiError:
    place = _PLACE.search(message)
    what = message[: place.start()] if place else message
    path = root + place["path"].removeprefix("$") if place else root
    path = path.removeprefix(".")
    if match := _UNKNOWN.fullmatch(what):
        param = _join(path, cut(match[1]))
        return invalid("unknown_parameter", f"Unknown parameter: {param}", param)
    if match := _MISSING.fullmatch(what):
        param = _join(path, cut(match[1]))
        return invalid("missing_required_parameter", f"Missing required parameter: {param}", param)
    name = path.rpartition(".")[2]
    if (match := _VALUE.fullmatch(what)) and (name, match[1]) in _UNSUPPORTED_VALUES:
        reason = _UNSUPPORTED_VALUES[name, match[1]]
        return invalid("unsupported_value", f"{path}: {cut(match[1])!r} is not supported: {reason}.", path)
    code = "invalid_type" if ", got " in what else "invalid_value"
    where = f"a key of {path}" if place and place["key"] else path or "the body"
    return invalid(code, f"Invalid {where}: {cut(what)}", path or None)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
