"""Constrains an answer: its content by the request, its tool calls by the template's syntax and the tools' schemas."""

from __future__ import annotations

from functools import partial

from llmcore.engine.request_state import RequestState
from llmcore.engine.token_text import TokenText
from llmcore.errors import ConstraintError, InvalidRequestError
from llmcore.grammar.call_gate import CallGate
from llmcore.grammar.call_grammar import CallGrammar, CallSyntax, call_grammar, call_syntax, needed_constraints
from llmcore.grammar.call_or_content import CallOrContent
from llmcore.grammar.constraint import Constraints
from llmcore.grammar.content_gate import ContentGate, TokenConstraint, is_opened, reads_json
from llmcore.grammar.matcher import Matcher
from llmcore.llama.chat import ChatParser, RenderedChat
from llmcore.llama.model import Model
from llmcore.messages import Constraint


class AnswerConstraints:
    """Constrains the answers of one engine's requests."""

    def __init__(self, model: Model, constraints: Constraints, token_text: TokenText) -> None:
        self._model = model
        self._constraints = constraints
        self._token_text = token_text

    def apply(self, state: RequestState, content: Constraint | None, chat: RenderedChat | None) -> None:
        """Sets the constraint of a new request. Raises InvalidRequestError if something does not compile, or the answer cannot
        continue a message by a call."""
        needed = needed_constraints(chat, content)
        for each in needed:
            self._constraints.prepare(each)
            state.relaxed += self._constraints.relaxed(each)
        found = self.constraint(chat, state.parser, content)
        state.constraint = found
        if state.parser is None or content is None:
            return
        if isinstance(found, CallOrContent):
            state.read_content_if(lambda: found.is_content, lambda: found.is_decided)
        elif isinstance(found, Matcher) and chat is not None and not chat.grammar:
            state.read_content()

    def constraint(
        self, chat: RenderedChat | None, parser: ChatParser | None, content: Constraint | None
    ) -> TokenConstraint | None:
        """Returns the constraint of a new answer; None if there is none. Raises as apply().

        Args:
            parser: reads the answer; None if its text is its content.
        """
        syntax = call_syntax(chat)
        if chat is None or parser is None or syntax is None:
            return None if content is None else self._content(chat, parser, self._constraints.matcher(content))
        calls = call_grammar(chat, syntax)
        if not syntax.lazy:
            return self._certain_call(calls, syntax)
        if content is None:
            self._constraints.prepare(calls)
            begin = partial(self._constraints.matcher, calls)
            return CallGate(syntax, begin, self._token_text.name, self._constraints.spell)
        either = CallOrContent(self._constraints.matcher(calls), self._constraints.matcher(content))
        return self._content(chat, parser, either)

    def _content(self, chat: RenderedChat | None, parser: ChatParser | None, inner: TokenConstraint) -> TokenConstraint:
        """Returns a constraint on what follows the reasoning. If the template's content has a form of its own, it cannot be told
        from other text: then there is nothing but content (or calls)."""
        if chat is None or parser is None or not reads_json(chat, parser):
            return inner
        tag = chat.thinking_start
        starts = self._model.tokenize(tag, add_special=False, parse_special=True) if tag else []
        return ContentGate(
            inner,
            self._constraints.anything(),
            self._token_text.name,
            is_reasoning=is_opened(chat),
            start=starts[0] if len(starts) == 1 and chat.thinking_ends else None,
            ends=chat.thinking_ends,
        )

    def _certain_call(self, calls: CallGrammar, syntax: CallSyntax) -> Matcher:
        """Returns a matcher behind the part of the answer that is in the prompt."""
        matcher = self._constraints.matcher(calls)
        tokens = self._constraints.spell(syntax.generation_prompt)
        if any(map(self._model.is_end, tokens)):
            problem = "the message that the answer continues holds a token that ends an answer"
            raise InvalidRequestError(problem, param="messages")
        try:
            for token in tokens:
                matcher.accept(token)
        except ConstraintError:
            problem = "the message that the answer continues cannot go on with a call"
            raise InvalidRequestError(problem, param="messages") from None
        return matcher
