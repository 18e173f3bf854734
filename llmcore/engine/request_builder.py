"""State of a new request, ready to be queued: the prompt is read, its length checked, the constraint compiled."""

from __future__ import annotations

from dataclasses import replace

from llmcore.engine.answer_constraints import AnswerConstraints
from llmcore.engine.answer_endings import AnswerEndings, answer_endings
from llmcore.engine.prompt_limit import PromptBound
from llmcore.engine.prompts import Prompts, TokenizedPrompt
from llmcore.engine.request_state import RequestState, open_request_state
from llmcore.engine.token_text import TokenText
from llmcore.grammar.constraint import Constraints
from llmcore.limits import Limits
from llmcore.llama.model import Model
from llmcore.messages import PRIORITIES, ChatPrompt, GenerateRequest, Prompt
from llmcore.scheduling.kv_cache import KVCache
from llmcore.sequence import SHARED_TENANT, Sequence


class RequestBuilder:
    """Builds request states for one engine. It uses the engine's parts and does not own them."""

    def __init__(
        self,
        model: Model,
        limits: Limits,
        cache: KVCache,
        prompts: Prompts,
        constraints: Constraints,
        token_text: TokenText,
    ) -> None:
        self._model = model
        self._limits = limits
        self._cache = cache
        self._prompts = prompts
        self._constraints = constraints
        self._answer_constraints = AnswerConstraints(model, constraints, token_text)
        self._bound = PromptBound(limits.n_ctx, limits.n_prompt)
        self._tenants: dict[str, int] = {"": SHARED_TENANT}  # numbers by name; there are few names

    def read(self, prompt: Prompt, prediction: str = "") -> TokenizedPrompt:
        """Reads a request's prompt and prediction, for build(). For any thread. Raises InvalidRequestError or
        ContextLengthError."""
        found = self._prompts.read(prompt, with_checkpoints=not self._cache.is_cuttable)
        return replace(found, prediction=self._prompts.read_prediction(prediction)) if prediction else found

    def build(self, request: GenerateRequest, now_s: float, prompt: TokenizedPrompt | None = None) -> RequestState:
        """Returns the state of a request. `prompt` is the result of read(), if that was called before. Raises InvalidRequestError
        or ContextLengthError; nothing stays open then."""
        prompt = prompt or self.read(request.prompt, request.prediction)
        tokens = prompt.tokens
        room = self._room(request, tokens)
        group = f"group {request.group}" if request.group else ""
        holder = f"holder {request.holder}" if request.holder else ""
        sequence = Sequence(
            request_id=request.request_id,
            tokens=tokens,
            n_prompt=len(tokens),
            n_tokens_max=len(tokens) + min(room, request.max_tokens or room),
            arrived_s=now_s,
            priority=PRIORITIES.index(request.priority),
            checkpoints=prompt.checkpoints,
            logits_from=None if request.n_prompt_logprobs is None else request.prompt_logprobs_from - 1,
            is_kept=request.keeps_prefix,
            tenant=self._tenants.setdefault(request.tenant, len(self._tenants)),
            holders=tuple(filter(None, (holder, group))),
            group=group,
            is_speculative=request.speculation != "off",
        )
        deadline_s = None if request.timeout_s is None else now_s + request.timeout_s
        endings = self._endings(request, prompt)
        state = open_request_state(
            self._model, request, prompt, sequence, deadline_s, endings, n_ctx=self._limits.n_ctx
        )
        try:
            self._answer_constraints.apply(state, request.constraint, prompt.chat)
        except BaseException:
            state.close()
            raise
        return state

    def _endings(self, request: GenerateRequest, prompt: TokenizedPrompt) -> AnswerEndings:
        has_call_grammar = prompt.chat is not None and bool(prompt.chat.grammar)
        anything = self._constraints.anything
        return answer_endings(request, self._model.n_vocab, anything, has_call_grammar=has_call_grammar)

    def _room(self, request: GenerateRequest, tokens: list[int]) -> int:
        """Number of tokens that an answer may have. Raises ContextLengthError if that is none."""
        param = "messages" if isinstance(request.prompt, ChatPrompt) else "prompt"
        return self._bound.check(len(tokens), param, n_pinned=self._cache.n_cells_pinned_beside(tokens))
