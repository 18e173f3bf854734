"""The grammar of a template's tool calls, as rendering a chat returns it, and what makes it one that llguidance compiles."""

from __future__ import annotations

import msgspec

from llmcore.llama.chat import RenderedChat
from llmcore.llama.tool_schema import TextParameter, ToolArgument
from llmcore.messages import Constraint


class Trigger(msgspec.Struct, frozen=True):
    """A text with which calls begin. `type` is "word", or "token" (whose text it is), or "pattern" or "pattern_full" (a regular
    expression for a part, or for all, of the answer so far)."""

    type: str
    value: str
    token: int = -1


class CallSyntax(msgspec.Struct, frozen=True):
    """The "grammar" of lc_chat_render(): GBNF, and from where in the answer on it applies.

    If it is lazy, it applies from a trigger on, which counts only outside of reasoning. Otherwise it applies to the whole answer,
    and to `generation_prompt` before it, which is the part of the answer that the prompt contains.
    """

    grammar: str
    lazy: bool
    triggers: tuple[Trigger, ...]
    generation_prompt: str
    thinking_start: str
    thinking_ends: tuple[str, ...]


class CallGrammar(msgspec.Struct, frozen=True):
    """A constraint on an answer, or on its end, to be calls.

    Args:
        source: GBNF with stand-ins for the arguments.
        is_optional: the source also matches answers without a call, which this constraint does not allow.
        arguments: what the stand-ins stand for.
        texts: parameters that are free text in the source.
    """

    source: str
    is_optional: bool
    arguments: tuple[ToolArgument, ...]
    texts: tuple[TextParameter, ...] = ()


def call_syntax(chat: RenderedChat | None) -> CallSyntax | None:
    """Returns the syntax of an answer's calls; None if it has none."""
    return msgspec.json.decode(chat.grammar, type=CallSyntax) if chat is not None and chat.grammar else None


def call_grammar(chat: RenderedChat, syntax: CallSyntax) -> CallGrammar:
    """Returns the constraint on the calls of an answer."""
    return CallGrammar(syntax.grammar, syntax.lazy, chat.arguments, chat.texts)


def needed_constraints(chat: RenderedChat | None, content: Constraint | None) -> tuple[Constraint | CallGrammar, ...]:
    """Returns what an answer needs compiled: a constraint on its content, on its calls, or both."""
    syntax = call_syntax(chat)
    if chat is None or syntax is None:
        return () if content is None else (content,)
    # An answer that must be a call has no content.
    return (call_grammar(chat, syntax), *([content] if content is not None and syntax.lazy else []))
