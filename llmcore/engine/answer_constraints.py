"""Constrains an answer: its content by the request, its tool calls by the template's syntax and the tools' schemas."""

from __future__ import annotations

from functools import partial

from llmcore.engine.request_state import RequestState
from llmcore.engine.token_text import TokenText
from llmcore.errors import ConstraintError, InvalidRequestError
from llmcore.grammar.call_gate import CallGate
from llmcore.grammar.call_grammar import CallGrammar, CallSyntax, call_syntax, needed_constraint
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
        """Sets the constraint of a new request. Raises as constraint()."""
        parser = state.parser
        has_content_alone = chat is not None and not chat.grammar and content is not None
        if has_content_alone and chat is not None and parser is not None and not reads_json(chat, parser):
            # Content in a form of its own cannot be constrained among other text: the answer is content alone.
            parser.close()
            state.chat, state.parser = None, None
        state.constraint = self.constraint(chat, state.parser, content)
        needed = needed_constraint(chat, content)
        state.relaxed = () if needed is None else self._constraints.relaxed(needed)

    def constraint(
        self, chat: RenderedChat | None, parser: ChatParser | None, content: Constraint | None
    ) -> TokenConstraint | None:
        """Returns the constraint of a new answer; None if there is none. Raises InvalidRequestError if content cannot be told from
        what is around it, or something does not compile.

        Args:
            parser: reads the answer; None if its text is its content.
        """
        needed, syntax = needed_constraint(chat, content), call_syntax(chat)
        if needed is None:
            return None
        self._constraints.prepare(needed)
        if chat is None or parser is None:
            return self._constraints.matcher(needed)
        if syntax is not None and not syntax.lazy:
            return self._certain_call(needed, syntax)
        if syntax is not None and content is None:
            begin = partial(self._constraints.matcher, needed)
            return CallGate(syntax, begin, self._token_text.name, self._constraints.spell)
        if not reads_json(chat, parser):
            message = "the model writes content in a form of its own: send either tools or a form of the answer"
            raise InvalidRequestError(message, param="constraint")
        return self._behind_reasoning(chat, needed)

    def _certain_call(self, needed: Constraint | CallGrammar, syntax: CallSyntax) -> Matcher:
        """Returns a matcher behind the part of the answer that is in the prompt."""
        matcher = self._constraints.matcher(needed)
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

    def _behind_reasoning(self, chat: RenderedChat, needed: Constraint | CallGrammar) -> ContentGate:
        tag = chat.thinking_start
        starts = self._model.tokenize(tag, add_special=False, parse_special=True) if tag else []
        return ContentGate(
            self._constraints.matcher(needed),
            self._constraints.anything(),
            self._token_text.name,
            is_reasoning=is_opened(chat),
            start=starts[0] if len(starts) == 1 and chat.thinking_ends else None,
            ends=chat.thinking_ends,
        )
