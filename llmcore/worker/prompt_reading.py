"""Reading the text of requests and calls (rendering, tokenizing): in which thread, and by which function of the engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llmcore.engine.encoder import AnyEngine
from llmcore.messages import ChatPrompt, Prompt, TextPrompt
from llmcore.protocol.commands import (
    EmbedCommand,
    PinCommand,
    RenderCommand,
    RerankCommand,
    TokenizeChatCommand,
    TokenizeCommand,
)
from llmcore.worker.preparation import Lane

# Calls that carry text.
Reading = TokenizeCommand | RenderCommand | TokenizeChatCommand | PinCommand | EmbedCommand | RerankCommand

# Up to this many characters are read by the engine's thread, within a few milliseconds.
LONG_CHARACTERS = 16 * 1024
# Longer texts have a thread of their own, so that shorter ones do not wait behind them.
_LARGE_CHARACTERS = 256 * 1024


def n_characters(prompt: Prompt) -> int:
    """Number of characters of a prompt; 0 for token ids."""
    if isinstance(prompt, ChatPrompt):
        return len(prompt.messages) + len(prompt.tools) + len(prompt.template_args)
    return len(prompt.text) + len(prompt.suffix) if isinstance(prompt, TextPrompt) else 0


def is_light(prompt: Prompt, prediction: str = "") -> bool:
    """True if the engine's thread may read a prompt and a prediction. Tools become a grammar, which takes longer than the length
    of their text suggests, and so do variables of the template."""
    if isinstance(prompt, ChatPrompt) and (prompt.tools or prompt.template_args):
        return False
    return n_characters(prompt) + len(prediction) <= LONG_CHARACTERS


def prompt_lane(prompt: Prompt, prediction: str = "") -> Lane:
    """Lane for a prompt and a prediction that are not light."""
    is_rendered = isinstance(prompt, ChatPrompt) and bool(prompt.tools or prompt.template_args)
    return "render" if is_rendered else reading_lane(n_characters(prompt) + len(prediction))


def reading_lane(n: int) -> Lane:
    """Lane for a text of n characters."""
    return "read" if n <= _LARGE_CHARACTERS else "read_large"


def reading(command: Reading, engine: AnyEngine) -> tuple[Lane | None, Callable[[], Any]]:
    """Lane for the text of a call (None: the engine's thread reads it), and the work, whose result CallHandler uses."""
    if isinstance(command, (RenderCommand, TokenizeChatCommand, PinCommand)):
        prompt = command.prefix.prompt if isinstance(command, PinCommand) else command.prompt
        lane = None if is_light(prompt) else prompt_lane(prompt)
        if isinstance(command, RenderCommand):
            return lane, partial(engine.render, command.prompt)
        if isinstance(command, TokenizeChatCommand):
            return lane, partial(engine.tokenize_chat, command.prompt)
        return lane, partial(engine.prefixes.read, command.prefix.prompt)
    n, work = _text_reading(command, engine)
    return None if n <= LONG_CHARACTERS else reading_lane(n), work


def _text_reading(
    command: TokenizeCommand | EmbedCommand | RerankCommand, engine: AnyEngine
) -> tuple[int, Callable[[], Any]]:
    """Number of characters that must be read at once for a call, and the work."""
    if isinstance(command, TokenizeCommand):
        add, parse = command.add_special, command.parse_special
        return len(command.text), partial(_tokens, engine, command.text, add, parse)
    if isinstance(command, EmbedCommand):
        # Short texts are read a slice at a time between the passes.
        n = max((len(each) for each in command.texts if isinstance(each, str)), default=0)
        return n, partial(engine.embeddings.read, command.texts)
    n = len(command.query) + max(map(len, command.documents), default=0)
    return n, partial(_pairs, engine, command, is_long=n > LONG_CHARACTERS)


def _tokens(engine: AnyEngine, text: str, add_special: bool, parse_special: bool) -> tuple[int, ...]:
    return tuple(engine.model.tokenize(text, add_special=add_special, parse_special=parse_special))


def _pairs(engine: AnyEngine, command: RerankCommand, *, is_long: bool) -> Any:
    return engine.embeddings.read_pairs(command.query, command.documents) if is_long else command.documents
