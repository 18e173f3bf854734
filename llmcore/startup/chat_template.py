"""The chat template of an engine: the model's own, or the file that an option names; compiled only after a trial."""

from __future__ import annotations

import logging
from pathlib import Path

from llmcore.errors import ConfigError, InvalidRequestError
from llmcore.llama.chat import ChatTemplate, RefusedTemplate
from llmcore.llama.model import Model
from llmcore.log import cut, event
from llmcore.startup.template_trial import try_template

logger = logging.getLogger(__name__)

# The largest templates in use have 30,000 characters.
_N_CHARACTERS_MAX = 1 << 20


def open_template(model: Model, path: str = "", *, allows_special: bool = False) -> ChatTemplate:
    """Opens the template in a file, or the model's own. If the model's own is unusable, chats are refused and everything else is
    served. `allows_special` is as for ChatTemplate.

    Raises ConfigError or InvalidRequestError for a file that is not a template or that fails the trial."""
    if path:
        source = _read(path)
        problem = _problem(source)
        if problem is not None:
            raise InvalidRequestError(f"chat_template: {path}: {problem}", param="chat_template")
        return ChatTemplate(model, source, allows_special=allows_special)
    for each in (model.chat_template, model.tool_template):
        problem = None if each is None else _problem(each)
        if problem is not None:
            event(logger, logging.WARNING, "chat_template_unusable", problem=cut(problem), advice="set --chat-template")
            return RefusedTemplate(problem)
    return ChatTemplate(model, allows_special=allows_special)


def _problem(source: str) -> str | None:
    if len(source) > _N_CHARACTERS_MAX:
        return f"it has {len(source)} characters, of which {_N_CHARACTERS_MAX} are read"
    return try_template(source)


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"chat_template: cannot read {path}: {error}", param="chat_template") from None
