"""From a request to an answer that can be queued: what it asks is checked, its prompt read, its constraint compiled."""

from __future__ import annotations

from llmcore.answer import Answer, hold_answer, open_answer
from llmcore.constraint import Constraints
from llmcore.errors import ContextLengthError, InvalidRequestError
from llmcore.kvcache import KVCache
from llmcore.limits import Limits
from llmcore.messages import N_LOGPROBS_MAX, PRIORITIES, ChatPrompt, GenerateRequest
from llmcore.model import Model
from llmcore.pieces import Pieces
from llmcore.prompts import Prompts
from llmcore.sequence import Sequence


class Intake:
    """Opens answers for one engine, whose parts it uses and does not own."""

    def __init__(
        self,
        model: Model,
        limits: Limits,
        cache: KVCache,
        prompts: Prompts,
        constraints: Constraints,
        pieces: Pieces,
    ) -> None:
        self._model = model
        self._limits = limits
        self._cache = cache
        self._prompts = prompts
        self._constraints = constraints
        self._pieces = pieces
        self._tenants: dict[str, int] = {"": 0}  # a number for each name; of names there are few

    def open(self, request: GenerateRequest, now_s: float) -> Answer:
        """Raises InvalidRequestError or ContextLengthError; nothing stays open then."""
        _check(request)
        prompt = self._prompts.read(request.prompt, with_checkpoints=not self._cache.is_cuttable)
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
            is_kept=request.keeps_prefix,
            tenant=self._tenants.setdefault(request.tenant, len(self._tenants)),
            holders=tuple(filter(None, (holder, group))),
            group=group,
        )
        deadline_s = None if request.timeout_s is None else now_s + request.timeout_s
        answer = open_answer(self._model, request, prompt, sequence, deadline_s, n_ctx=self._limits.n_ctx)
        if request.constraint is not None:
            try:
                matcher = self._constraints.matcher(request.constraint)
                hold_answer(answer, matcher, prompt, self._model, self._constraints.anything, self._pieces.name)
            except BaseException:
                answer.close()
                raise
        return answer

    def _room(self, request: GenerateRequest, tokens: list[int]) -> int:
        """How many tokens an answer may have. Raises ContextLengthError if that is none."""
        n_ctx, n_pinned = self._limits.n_ctx, self._cache.held_by_pins(tokens)
        room = n_ctx - n_pinned - len(tokens)
        param = "messages" if isinstance(request.prompt, ChatPrompt) else "prompt"
        if 0 < self._limits.n_prompt < len(tokens):
            raise ContextLengthError(
                f"the prompt has {len(tokens)} tokens, and at most {self._limits.n_prompt} are allowed here",
                n_prompt=len(tokens),
                n_ctx=n_ctx,
                param=param,
            )
        if room < 1:
            pinned = f" (of which {n_pinned} hold pinned prefixes)" if n_pinned else ""
            raise ContextLengthError(
                f"the prompt has {len(tokens)} tokens; the context has {n_ctx}{pinned}, of which the answer needs at least one",
                n_prompt=len(tokens),
                n_ctx=n_ctx,
                param=param,
            )
        return room


def _check(request: GenerateRequest) -> None:
    """Raises InvalidRequestError for numbers out of range, and for what contradicts itself."""
    if request.max_tokens is not None and request.max_tokens < 1:
        raise InvalidRequestError(f"max_tokens must be at least 1, got {request.max_tokens}", param="max_tokens")
    if request.timeout_s is not None and not request.timeout_s > 0:
        raise InvalidRequestError(f"timeout_s must be above 0, got {request.timeout_s}", param="timeout_s")
    if request.n_logprobs is not None and not 0 <= request.n_logprobs <= N_LOGPROBS_MAX:
        problem = f"n_logprobs must be between 0 and {N_LOGPROBS_MAX}, got {request.n_logprobs}"
        raise InvalidRequestError(problem, param="n_logprobs")
    if request.constraint is not None and request.ignore_eos:
        raise InvalidRequestError(
            "ignore_eos contradicts a constraint, which says where an answer may end", param="ignore_eos"
        )
