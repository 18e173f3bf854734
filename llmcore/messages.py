"""What crosses between an engine and those who use it, in one process or two.

All types are msgspec structs, so the same values travel over the worker's socket (see worker.py and client.py) that
in-process callers hold. Text is str, tokens are ids of the model's vocabulary, times are seconds.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from llmcore.machine.threads import ThreadDecision
from llmcore.sampling import SamplingParams

FinishReason = Literal["stop", "length", "cancelled", "timeout"]

ToolChoice = Literal["auto", "none", "required"]

# In the order in which they are served: somebody who listens, the ordinary caller, work that can wait.
Priority = Literal["high", "normal", "low"]
# A priority's place is its number in the engine (sequence.py).
PRIORITIES: tuple[Priority, ...] = get_args(Priority)


# --- Requests ---------------------------------------------------------------------------------------------------------


class ChatPrompt(msgspec.Struct, frozen=True, tag="chat"):
    """Messages (a JSON array in OpenAI's form, UTF-8), rendered by the model's chat template."""

    messages: bytes
    add_generation_prompt: bool = True
    continue_final_message: bool = False  # the answer goes on where the last message, the assistant's, ends
    tools: bytes = b""  # a JSON array in OpenAI's form
    tool_choice: ToolChoice = "auto"
    tool_name: str = ""  # with "required": the one function that is to be called
    parallel_tool_calls: bool = True
    template_args: bytes = b""  # a JSON object: further variables of the template
    reasoning_effort: str = ""  # "none" turns reasoning off; others need a template that knows efforts


class TextPrompt(msgspec.Struct, frozen=True, tag="text"):
    """Text as it stands: special tokens of the model (BOS) are added, and special text in it is *not* parsed.

    With a `suffix`, the answer is what stands between both (models made for infilling)."""

    text: str
    suffix: str = ""


class TokensPrompt(msgspec.Struct, frozen=True, tag="tokens"):
    """Token ids as they stand; nothing is added."""

    tokens: tuple[int, ...]


Prompt = ChatPrompt | TextPrompt | TokensPrompt

# --- What an answer must look like ---------------------------------------------------------------------------------------


class JsonObject(msgspec.Struct, frozen=True, tag="json_object"):
    """Any JSON object."""


class JsonSchema(msgspec.Struct, frozen=True, tag="json_schema"):
    """JSON that is valid by a schema (draft 2020-12, UTF-8 JSON; its properties come in the schema's order).

    `strict` refuses what cannot be held exactly. Without it, a `format` that is not known is a remark, as the draft has it, and
    `oneOf` with alternatives that may overlap is read as `anyOf`.
    """

    schema: bytes
    strict: bool = True


class Regex(msgspec.Struct, frozen=True, tag="regex"):
    """Text that a regular expression matches as a whole. The syntax is that of Rust's regex crate: no look-around."""

    pattern: str


class Grammar(msgspec.Struct, frozen=True, tag="grammar"):
    """Text of a context-free grammar, in llguidance's variant of Lark or in llama.cpp's GBNF."""

    source: str
    syntax: Literal["lark", "gbnf"] | None = None  # None: what it looks like


Constraint = JsonObject | JsonSchema | Regex | Grammar

# Most probable tokens that may be told beside each drawn one.
N_LOGPROBS_MAX = 20

# Names of prefixes. Clients put them into URLs, where "." and ".." mean something else.
PREFIX_NAME_PATTERN = r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}"
PREFIX_NAME_RULE = "1 to 64 letters, digits, dots, underscores and hyphens, and not '.' or '..'"


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    request_id: str  # chosen by the caller, unique among the requests that are alive
    prompt: Prompt
    sampling: SamplingParams = SamplingParams()
    max_tokens: int | None = None  # None: until the end of the context
    stop: tuple[str, ...] = ()  # the answer ends before the first of these
    ignore_eos: bool = False  # not with a constraint, which ends where it is complete
    constraint: Constraint | None = None
    keeps_prefix: bool = True  # what it computed stays in the cache; False for what nobody will say again
    n_logprobs: int | None = None  # 0..N_LOGPROBS_MAX alternatives for each token; None tells no log-probabilities
    priority: Priority = "normal"
    tenant: str = ""  # requests of different tenants share no cells but those of pinned prefixes
    holder: str = ""  # whose it is: requests of one holder get no more than its share of the slots while others wait
    group: str = ""  # the same for several answers to one request, by a name of their own
    timeout_s: float | None = None  # from submission; what is not finished by then ends with reason "timeout"


class PrefixSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A beginning of prompts that is computed in advance and never evicted.

    Of a chat prompt (system messages, say), that is what its tokens have in common with every conversation that begins so.
    """

    name: str  # pinning a second one of the same name replaces the first
    prompt: Prompt


class PrefixInfo(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    n_tokens: int
    is_computed: bool


# --- Outputs of the engine --------------------------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    n_prompt: int  # tokens of the prompt
    n_cached: int  # of these, how many were not computed because they stood in the cache
    n_generated: int  # tokens of the answer, the one that ended it included
    n_restored: int = 0  # of n_cached, how many came back from the host tier
    n_reasoning: int = 0  # of n_generated, those before the first one of content or a tool call
    queue_s: float  # from submission to the first step that took part of it
    prefill_s: float  # from there to the first token
    decode_s: float  # from the first token to the last


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The request is admitted; its prompt has `n_prompt` tokens."""

    request_id: str
    n_prompt: int


class CallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """More of a tool call. The first one of a call has its id and name and no arguments; all others have arguments (a piece of
    JSON) alone."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class TopLogprob(msgspec.Struct, frozen=True, array_like=True):
    token: int
    data: bytes
    logprob: float  # natural logarithm; minus infinity for what the model excludes


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """A token of the answer, its bytes, and how probable the model found it (before constraint, penalties and temperature);
    `top` are the most probable tokens of its place, which need not include it."""

    token: int
    data: bytes
    logprob: float
    top: tuple[TopLogprob, ...] = ()


class Piece(msgspec.Struct, frozen=True, tag="piece", omit_defaults=True):
    """`n_tokens` more tokens were generated. `text` is what of them can be shown now: whole characters, and nothing that
    could still become a stop string. It may be empty.

    Of a chat prompt, `text` is the content of the answer; its reasoning and its tool calls are told apart. `logprobs`, if
    asked for, are those of the tokens that begin in what has been shown, each told once."""

    request_id: str
    text: str
    n_tokens: int
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


class Finished(msgspec.Struct, frozen=True, tag="finished", omit_defaults=True):
    """The last output of a request that worked. `text`, `reasoning`, `calls` and `logprobs` are what was held back until
    now."""

    request_id: str
    text: str
    reason: FinishReason
    usage: Usage
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The last output of a request that did not work. `code` is an LlmcoreError's."""

    request_id: str
    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None  # with "overloaded": when the same request may be admitted


Output = Accepted | Piece | Finished | Failed


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    description: str  # "llama 135M Q4_1", as llama.cpp words it
    architecture: str
    n_params: int
    size_bytes: int  # of all tensors
    n_vocab: int
    n_embd: int
    n_layer: int
    n_ctx_train: int
    n_ctx: int  # cells of the running context; 0 where there is none
    has_chat_template: bool
    can_generate: bool = True
    pooling: str = "none"  # of its embeddings: mean, cls or last; rank of a reranker; none where it gives none
    threads: ThreadDecision | None = None  # that compute it


class EngineStats(msgspec.Struct, frozen=True, kw_only=True):
    n_running: int
    n_waiting: int
    n_tokens_waiting: int = 0  # of prompts, that nobody has computed yet
    n_slots: int
    n_cells: int
    n_cells_used: int
    n_cells_pinned: int = 0  # of pinned prefixes
    n_host_entries: int = 0  # evicted sequences in host memory
    host_bytes: int = 0
    host_bytes_max: int = 0
    prefill_tokens_per_s: float = 0.0  # as the cost model predicts it for a prompt of 512; 0 while unknown
    n_steps: int  # since the start, as all below
    n_tokens_prefilled: int
    n_tokens_cached: int
    n_tokens_generated: int
    n_prefix_hits: int = 0  # sequences that found at least half of their prompt in the cache
    n_prefix_misses: int = 0
    n_preempted: int = 0
    n_saved: int = 0  # sequences that went to the host tier
    n_restored: int = 0  # and came back
    step_s: float = 0.0  # time in steps, all of it
    native_s: float = 0.0  # of that, inside native calls
    n_cancelled: int = 0
    n_embed_waiting: int = 0  # requests for embeddings or scores that are not finished
    n_embed_passes: int = 0  # since the start, as all below
    n_embed_texts: int = 0
    n_embed_tokens: int = 0
    embed_s: float = 0.0  # time in passes


class AdmissionRefusal(msgspec.Struct, frozen=True):
    """Why a request may not wait. See OverloadedError."""

    message: str
    retry_after_s: float
