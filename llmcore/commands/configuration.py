"""Generates docs/CONFIGURATION.md from the declarations of all options.

python -m llmcore.commands.configuration > docs/CONFIGURATION.md
"""

from __future__ import annotations

from typing import Any

from llmcore.config import configs
from llmcore.machine.options import Option, env_names, flag, options, shown_default

_TITLES = ("Engine", "Service", "Cluster")

_INTRODUCTION = """\
# Configuration

Written by `python -m llmcore.commands.configuration` from the declarations in `llmcore/config.py` and `app/config.py`; a test
compares.

A flag overrides the environment, which overrides the default. Library users pass the engine's options as keyword
arguments of `LLM(...)`, with underscores. An unknown flag, an unknown `LLMCORE_*` variable and a value out of range are
errors that name it; an empty variable counts as absent. Paths may have any bytes; every other value is text, in which
U+FFFD stands for bytes that are not UTF-8. `llmcore pull` and the default model use `MODEL_DIR` (by default a folder in
the user's cache); `LLMCORE_MODEL_CONFIG` names a file of models that extends the known ones (docs/DEPLOYMENT.md).
"""


def document() -> str:
    """Returns docs/CONFIGURATION.md: all options in tables."""
    found = configs()
    parts = [_INTRODUCTION]
    for title in _TITLES:
        config = found[title.lower()]
        parts.append(f"\n## {title}\n\n{(config.__doc__ or '').splitlines()[0]}\n")
        parts.append("| flag | environment | default | values | meaning |\n|---|---|---|---|---|")
        parts += [_row(*each) for each in options(config)]
    return "\n".join(parts) + "\n"


def _row(name: str, default: Any, option: Option) -> str:
    variables = ", ".join(f"`{variable}`" for variable in env_names(name, option))
    meaning = option.help.replace("|", "\\|")
    return f"| `{flag(name)}` | {variables} | {shown_default(default)} | {_values(default, option)} | {meaning} |"


def _values(default: Any, option: Option) -> str:
    if isinstance(default, bool):
        return "on, off"
    if option.choices:
        return ", ".join(option.choices)
    if option.low is not None and option.high is not None:
        return f"{option.low:.10g} to {option.high:.10g}" + (f" {option.unit}" if option.unit else "")
    return "path" if option.is_path else "text"


if __name__ == "__main__":
    print(document(), end="")
