"""Options: declared as fields of a frozen dataclass, read from flags and environment variables.

A field made by option_field() *is* the declaration: its flag, environment variable, check, help text and line in
docs/CONFIGURATION.md derive from it. Precedence: flag, then environment, then default. The environment variable of option
`n_ctx` is `LLMCORE_N_CTX`; a few have a short name besides (`MODEL_PATH`, `PORT`).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmcore.errors import ConfigError
from llmcore.machine.os_text import system_name

ENV_PREFIX = "LLMCORE_"

# Variables with our prefix that are not options: those of the build (native/cmake), and the user's file of models
# (hub/model_store.py).
_OTHER_ENV = frozenset({"LLMCORE_LLAMA_CPP_DIR", "LLMCORE_CACHE_DIR", "LLMCORE_MODEL_CONFIG"})

# A frozen dataclass of options.
Config = TypeVar("Config")
ConfigClass = type[Any]


@dataclass(frozen=True)
class Option:
    """An option, kept in its field's metadata. `unit` and `low`/`high` (inclusive) are for numbers, `choices` for strings.

    A path (`is_path`) is kept as the system passed it, so that os.fsencode() returns its bytes; any other string is text.
    """

    help: str
    env: str = ""  # a short name besides LLMCORE_<NAME>
    env_is_list: bool = False  # the short name may hold numbers with commas between: the first counts
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    is_path: bool = False


def option_field(default: Any, help: str, **details: Any) -> Any:
    """Declares a dataclass field as an option; `details` are the other fields of Option."""
    return field(default=default, metadata={"option": Option(help=help, **details)})


def options(config: ConfigClass) -> Iterator[tuple[str, Any, Option]]:
    """Yields (name, default, declaration) of each option of a config class, in order."""
    for each in dataclasses.fields(config):
        yield each.name, each.default, each.metadata["option"]


def env_names(name: str, option: Option) -> tuple[str, ...]:
    """Returns the environment variables of an option; the first one that is set wins."""
    return (ENV_PREFIX + name.upper(), option.env) if option.env else (ENV_PREFIX + name.upper(),)


def flag(name: str) -> str:
    """Returns the command line flag of an option."""
    return "--" + name.replace("_", "-")


def add_flags(parser: argparse.ArgumentParser, config: ConfigClass, only: Collection[str] = ()) -> None:
    """Adds a flag for each option of a config class, or for some by name. Absent flags leave no attribute."""
    for name, default, option in options(config):
        if only and name not in only:
            continue
        shown = (
            f"{option.help} (default: {shown_default(default)}{' ' + option.unit if option.unit and default else ''}"
        )
        shown += f"; environment: {', '.join(env_names(name, option))})"
        parser.add_argument(
            flag(name),
            dest=name,
            default=argparse.SUPPRESS,
            metavar="|".join(option.choices) or type(default).__name__.upper(),
            help=shown.replace("%", "%%"),
        )


def read_options(config: type[Config], flags: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """Reads a config from parsed flags and the environment. Raises ConfigError naming the flag or variable at fault."""
    values: dict[str, Any] = {}
    for name, default, option in options(config):
        source, text = _given(name, option, flags, environ)
        if source:
            value = _parse(source, text, default)
            is_name = isinstance(value, str) and not option.is_path
            values[name] = system_name(value) if is_name else value
    return config(**values)


def value_of_short_name(config: ConfigClass, name: str, environ: Mapping[str, str]) -> Any:
    """Returns an option's value by the short name of its variable, which other programs read too; its default if that is not set.
    Raises ConfigError naming the variable."""
    default, option = next((default, option) for each, default, option in options(config) if each == name)
    text = environ.get(option.env, "")
    return (
        _parse(option.env, _first_of_list(option.env, text) if option.env_is_list else text, default)
        if text
        else default
    )


def refuse_unknown(environ: Mapping[str, str], configs: Iterable[ConfigClass]) -> None:
    """Raises ConfigError for a variable with our prefix that no config declares, so that a misspelt one is never ignored."""
    known = set(_OTHER_ENV)
    for config in configs:
        for name, _, option in options(config):
            known.update(env_names(name, option))
    for variable in sorted(environ):
        if variable.startswith(ENV_PREFIX) and variable not in known:
            raise ConfigError(f"unknown option {variable} in the environment", param=variable)


def _given(name: str, option: Option, flags: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, Any]:
    """Returns the flag or variable that sets an option, and its value; ("", None) if there is none."""
    if name in flags:
        return flag(name), flags[name]
    for variable in env_names(name, option):
        text = environ.get(variable, "")
        if text:
            is_list = option.env_is_list and variable == option.env
            return variable, _first_of_list(variable, text) if is_list else text
    return "", None


def _first_of_list(variable: str, text: str) -> str:
    """Returns the first number of a list. OpenMP's lists have a number for each level of nesting; we use one level."""
    numbers = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,9}", number) for number in numbers) or ("0" in numbers and len(numbers) > 1):
        problem = f"{variable} must be a whole number, or a list of such with commas between, got {text!r}"
        raise ConfigError(problem, param=variable)
    return numbers[0]


def _parse(source: str, text: Any, default: Any) -> Any:
    """Parses `text` as a value of default's type. Raises ConfigError naming `source`, a flag or variable."""
    if isinstance(default, bool):
        word = str(text).lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
        raise ConfigError(f"{source} must be on or off, got {text!r}", param=source)
    try:
        return type(default)(text)
    except ValueError:
        kind = {"int": "a whole number", "float": "a number"}.get(type(default).__name__, "text")
        raise ConfigError(f"{source} must be {kind}, got {text!r}", param=source) from None


def check_options(config: Any) -> None:
    """Raises ConfigError, naming the option, for a value of a wrong type or out of range."""
    for name, default, option in options(type(config)):
        value = getattr(config, name)
        if option.choices and value not in option.choices:
            raise ConfigError(f"{name} must be one of {', '.join(option.choices)}, got {value!r}", param=name)
        numeric = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
        if type(value) is not type(default) and not numeric:
            raise ConfigError(f"{name} must be {type(default).__name__}, got {value!r}", param=name)
        if option.is_path and not _can_be_path(value):
            raise ConfigError(f"{name} is no path that this system can have: {value!r}", param=name)
        # Written so that NaN fails.
        if option.low is not None and option.high is not None and not option.low <= value <= option.high:
            raise ConfigError(
                f"{name} must be between {option.low:.10g} and {option.high:.10g}, got {value!r}", param=name
            )


def _can_be_path(value: str) -> bool:
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def shown_default(default: Any) -> str:
    """Text for a default in help texts and documents."""
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default) if default != "" else "none"
