"""Checks of commands before they are sent: the worker can decode them, and they contradict neither a range nor themselves.

Python does not enforce type annotations, so a field of a caller may hold anything. A command is encoded and decoded once; the
decoded one has exactly the declared types and replaces the given one.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from llmcore.errors import InvalidRequestError
from llmcore.messages import N_LOGPROBS_MAX, GenerateRequest
from llmcore.protocol.commands import Command, SubmitCommand
from llmcore.protocol.framing import check_size
from llmcore.sampling import SamplingParams
from llmcore.values import is_numpy, plain_value

C = TypeVar("C", bound=Command)

# Structs that are a field of a command: errors name these and not the command.
_CARRIED = {"request": "GenerateRequest", "prefix": "PrefixSpec"}

_PATH = re.compile(r" - at (?:`key` in )?`\$(?P<path>.*)`$")


def _plain(value: Any) -> Any:
    """Converts a numpy number or array for the encoder. Raises TypeError for any other value."""
    if not is_numpy(value):
        raise TypeError(f"a value of type {type(value).__name__} cannot be sent")
    return plain_value(value)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain)
_DECODER: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)


def checked(command: C) -> C:
    """Returns the command with exactly the declared types; numpy's numbers become plain ones. Raises InvalidRequestError, naming
    the field."""
    data = _encoded(command)
    try:
        check_size(len(data))
        found = _DECODER.decode(data)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except ValueError as error:  # too large
        raise InvalidRequestError(f"the request cannot be sent: {error}") from None
    assert isinstance(found, type(command)), "the tag says so"
    if isinstance(found, SubmitCommand):
        check_request(found.request)
    return found


def checked_request(request: GenerateRequest) -> GenerateRequest:
    """Returns the request with exactly the declared types. Raises InvalidRequestError, naming the field."""
    return checked(SubmitCommand(request)).request


def check_request(request: GenerateRequest) -> None:
    """Raises InvalidRequestError for numbers out of range and for fields that contradict each other."""
    if request.max_tokens is not None and request.max_tokens < 1:
        raise InvalidRequestError(f"max_tokens must be at least 1, got {request.max_tokens}", param="max_tokens")
    if request.timeout_s is not None and not request.timeout_s > 0:
        raise InvalidRequestError(f"timeout_s must be above 0, got {request.timeout_s}", param="timeout_s")
    if "" in request.stop:
        raise InvalidRequestError("stop: a stop string must not be empty", param="stop")
    if request.constraint is not None and (request.ignore_eos or request.min_tokens > 0):
        field = "ignore_eos" if request.ignore_eos else "min_tokens"
        raise InvalidRequestError(f"{field} contradicts a constraint, which says where an answer may end", param=field)
    _check_min_tokens(request)
    _check_logprobs(request)


def _check_logprobs(request: GenerateRequest) -> None:
    for name in ("n_logprobs", "n_prompt_logprobs"):
        n = getattr(request, name)
        if n is not None and not 0 <= n <= N_LOGPROBS_MAX:
            raise InvalidRequestError(f"{name} must be between 0 and {N_LOGPROBS_MAX}, got {n}", param=name)
    if request.prompt_logprobs_from < 1:
        problem = f"prompt_logprobs_from must be at least 1, got {request.prompt_logprobs_from}"
        raise InvalidRequestError(problem, param="prompt_logprobs_from")


def _check_min_tokens(request: GenerateRequest) -> None:
    if request.min_tokens < 0:
        raise InvalidRequestError(f"min_tokens must be at least 0, got {request.min_tokens}", param="min_tokens")
    if request.max_tokens is not None and request.min_tokens > request.max_tokens:
        problem = f"min_tokens ({request.min_tokens}) is above the longest answer ({request.max_tokens} tokens)"
        raise InvalidRequestError(problem, param="min_tokens")


def _encoded(command: Command) -> bytes:
    try:
        return _ENCODER.encode(command)
    except Exception as error:  # the code of a caller's object may raise anything
        place = _unencodable(command, "")
        where = _named(place)
        raise InvalidRequestError(f"{where}{_words(error)}", param=_param(place)) from None


def _words(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return f"not valid Unicode text: {error.reason}"
    if isinstance(error, OverflowError):
        return "an integer of more than 64 bits"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error) or type(error).__name__


def _unencodable(value: Any, path: str) -> str:
    """Path of the field that cannot be encoded, in a struct: ".request.tenant"."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            each = getattr(value, name)
            try:
                _ENCODER.encode(each)
            except Exception:
                return _unencodable(each, f"{path}.{name}")
    return path


def _invalid(error: msgspec.ValidationError) -> InvalidRequestError:
    if isinstance(error.__cause__, InvalidRequestError):  # a range of SamplingParams
        return error.__cause__
    found = _PATH.search(str(error))
    place = found["path"] if found else ""
    problem = str(error)[: found.start()] if found else str(error)
    return InvalidRequestError(f"{_named(place)}{problem[:1].lower()}{problem[1:]}", param=_param(place))


def _named(place: str) -> str:
    first, _, rest = place.removeprefix(".").partition(".")
    if first in _CARRIED:
        return f"{_CARRIED[first]}.{rest}: " if rest else f"{_CARRIED[first]}: "
    return f"{place.removeprefix('.')}: " if place else ""


def _param(place: str) -> str | None:
    """Name of the field: in the request, or in its sampling parameters."""
    names = [re.sub(r"\[.*", "", each) for each in place.split(".") if each]
    while len(names) > 1 and names[0] in _CARRIED:
        del names[0]
    # A struct of another kind may stand in its place: its fields are not the request's.
    if len(names) > 1 and names[0] == "sampling" and names[1] in SamplingParams.__struct_fields__:
        del names[0]
    return names[0] if names else None
