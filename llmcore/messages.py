"""Requests, outputs and descriptions: the values that an engine and its callers share, in one process or two.

All types are msgspec structs. Callers in the engine's process hold the same values that travel over the worker's socket
(protocol/commands.py and protocol/replies.py). Text is str, tokens are ids of the model's vocabulary, times are in seconds.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from llmcore.machine.threads import ThreadDecision
from llmcore.sampling import SamplingParams

FinishReason = Literal["stop", "length", "cancelled", "timeout"]

ToolChoice = Literal["auto", "none", "required"]

# In the order in which they are served: for listeners, for ordinary callers, for work that can wait.
Priority = Literal["high", "normal", "low"]
# In the engine, a priority is its place here (sequence.py).
PRIORITIES: tuple[Priority, ...] = get_args(Priority)

# Whether drafts of an answer are verified; "off" for a single request.
SpeculationMode = Literal["auto", "off"]
SPECULATION_MODES: tuple[SpeculationMode, ...] = get_args(SpeculationMode)


# --- Requests ---------------------------------------------------------------------------------------------------------


class ChatPrompt(msgspec.Struct, frozen=True, tag="chat"):
    """Messages (a JSON array in OpenAI's form, UTF-8), rendered by the model's chat template."""

    messages: bytes
    add_generation_prompt: bool = True
    continue_final_message: bool = False  # the answer continues the last message, which is the assistant's
    tools: bytes = b""  # a JSON array in OpenAI's form
    tool_choice: ToolChoice = "auto"
    tool_name: str = ""  # with "required": the only function that may be called
    parallel_tool_calls: bool = True
    template_args: bytes = b""  # a JSON object: more variables of the template
    reasoning_effort: str = ""  # "none" turns reasoning off; others need a template with a variable for it


class TextPrompt(msgspec.Struct, frozen=True, tag="text"):
    """Text, tokenized with the model's special tokens (BOS) added. Special text in it, such as "<|im_end|>", is plain text.

    With a `suffix`, the answer is the text between both (for models made for infilling)."""

    text: str
    suffix: str = ""


class TokensPrompt(msgspec.Struct, frozen=True, tag="tokens"):
    """Token ids. Nothing is added."""

    tokens: tuple[int, ...]


Prompt = ChatPrompt | TextPrompt | TokensPrompt

# --- Constraints of an answer -----------------------------------------------------------------------------------------


class JsonObject(msgspec.Struct, frozen=True, tag="json_object"):
    """Any JSON object."""


class JsonSchema(msgspec.Struct, frozen=True, tag="json_schema"):
    """JSON that is valid by a schema (draft 2020-12, UTF-8 JSON). Properties come in the schema's order.

    `strict` refuses `oneOf` with alternatives that may overlap. Without it, that is read as `anyOf`. `lenient` leaves out keywords
    that no grammar can hold, instead of refusing the schema. Objects have no properties that the schema does not name, unless
    `additionalProperties` allows them.
    """

    schema: bytes
    strict: bool = True
    lenient: bool = False


class Regex(msgspec.Struct, frozen=True, tag="regex"):
    """Text that a regular expression matches as a whole. The syntax is that of Rust's regex crate, without look-around."""

    pattern: str


class Grammar(msgspec.Struct, frozen=True, tag="grammar"):
    """Text that a context-free grammar derives; the grammar is in llguidance's variant of Lark or in llama.cpp's GBNF."""

    source: str
    syntax: Literal["lark", "gbnf"] | None = None  # None: detected


Constraint = JsonObject | JsonSchema | Regex | Grammar

# The most alternatives that are reported for each token.
N_LOGPROBS_MAX = 20

# Names of prefixes. They stand in URLs, where "." and ".." mean something else.
PREFIX_NAME_PATTERN = r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}"
PREFIX_NAME_RULE = "1 to 64 letters, digits, dots, underscores and hyphens, and not '.' or '..'"


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to one prompt."""

    request_id: str  # chosen by the caller, unique among the requests that have not ended
    prompt: Prompt
    sampling: SamplingParams = SamplingParams()
    max_tokens: int | None = None  # None: up to the end of the context
    stop: tuple[str, ...] = ()  # the answer ends before the first of these
    stop_token_ids: tuple[int, ...] = ()  # the answer ends before the first of these
    ignore_eos: bool = False  # not with a constraint, which ends when it is complete
    min_tokens: int = 0  # neither an end token nor a stop ends the answer before it has so many; not with a constraint
    shows_special_tokens: bool = False  # special tokens in the answer are text too
    shows_stop: bool = False  # the stop string or stop token that ended the answer is part of its text
    constraint: Constraint | None = None
    keeps_prefix: bool = True  # its cells stay in the cache; False for a prompt that will not come again
    n_logprobs: int | None = None  # alternatives for each token, 0..N_LOGPROBS_MAX; None: no log-probabilities
    n_prompt_logprobs: int | None = (
        None  # alternatives for each token of the prompt, 0..N_LOGPROBS_MAX; None: nothing of it
    )
    prompt_logprobs_from: int = 1  # the first token of the prompt that gets one; nothing comes before token 0
    priority: Priority = "normal"
    tenant: str = ""  # requests of different tenants share no cells except those of pinned prefixes
    holder: str = ""  # its owner: requests of one holder get no more than its share of the slots while others wait
    group: str = ""  # a name that several answers to one request share
    timeout_s: float | None = None  # from submission; an unfinished answer then ends with reason "timeout"
    speculation: SpeculationMode = "auto"  # off: every token of the answer takes a step
    prediction: str = ""  # the answer, or much of it, as the caller expects it; it only saves time


class PrefixSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A beginning of prompts that is computed in advance and never evicted.

    For a chat prompt (system messages, for example), the prefix is what its tokens share with every conversation that begins
    with these messages.
    """

    name: str  # pinning another prefix of the same name replaces the first
    prompt: Prompt


class PrefixInfo(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    n_tokens: int
    is_computed: bool


# --- Outputs of the engine --------------------------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    n_prompt: int  # tokens of the prompt
    n_cached: int  # of these, tokens found in the cache and not computed
    n_generated: int  # tokens of the answer, including the one that ended it
    n_restored: int = 0  # of n_cached, tokens that came back from host memory
    n_reasoning: int = 0  # of n_generated, tokens before the first one of content or a tool call
    queue_s: float  # from submission to the first step that computed a part of it
    prefill_s: float  # from there to the first token
    decode_s: float  # from the first token to the last
    n_steps: int = 0  # steps that gave it tokens
    n_prediction_accepted: int = 0  # tokens of the prediction that were tried and are the answer's
    n_prediction_rejected: int = 0  # tokens of the prediction that were tried in vain


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The request is admitted; its prompt has `n_prompt` tokens. `relaxed` has the paths of keywords of its schema that are not
    held: "properties.tags.uniqueItems"."""

    request_id: str
    n_prompt: int
    relaxed: tuple[str, ...] = ()


class CallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a tool call. The first piece of a call has its id and name and no arguments; the others have only arguments (a
    piece of JSON)."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class TopLogprob(msgspec.Struct, frozen=True, array_like=True):
    token: int
    data: bytes
    logprob: float  # natural logarithm; minus infinity if the model excludes the token


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """A token of the answer, its bytes and its log-probability, before constraint, penalties and temperature. `top` are the most
    probable tokens at its place; the token itself may be missing there."""

    token: int
    data: bytes
    logprob: float
    top: tuple[TopLogprob, ...] = ()


class Piece(msgspec.Struct, frozen=True, tag="piece", omit_defaults=True):
    """A part of an answer: `n_tokens` more tokens were generated. `text` is the part that can be shown now: whole characters, and
    nothing that could still become a stop string. It may be empty.

    For a chat prompt, `text` is content only; reasoning and tool calls are separate. `logprobs`, if asked for, are those of
    the tokens that begin in the text shown so far, each reported once."""

    request_id: str
    text: str
    n_tokens: int
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


class Finished(msgspec.Struct, frozen=True, tag="finished", omit_defaults=True):
    """The last output of a request that succeeded. `text`, `reasoning`, `calls` and `logprobs` were held back until now.
    `stop_string` is the stop string that ended the answer, the request's or the chat template's; empty if none did. `tokens` are
    all tokens of the answer, including the one that ended it."""

    request_id: str
    text: str
    reason: FinishReason
    usage: Usage
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    stop_string: str = ""
    tokens: tuple[int, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()  # of the prompt's tokens, in order, if they were asked for


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The last output of a request that failed. `code` is the code of an LlmcoreError."""

    request_id: str
    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None  # with "overloaded": wait before sending it again


Output = Accepted | Piece | Finished | Failed


class Computation(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that decide the bits of answers. `fingerprint` is a digest of them:
    answers of services with the same one may be compared."""

    fingerprint: str
    build: str  # version and commit of llama.cpp
    kernels: str  # the level in use, "none" without our kernels
    flash_attn: bool
    cache_type_k: str
    cache_type_v: str
    model_digest: str


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a loaded model."""

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
    has_reasoning_efforts: bool = False  # the chat template has a variable for the effort of reasoning
    can_generate: bool = True
    pooling: str = "none"  # of embeddings: mean, cls or last; "rank" for a reranker, "none" without embeddings
    threads: ThreadDecision | None = None  # threads of its steps
    computation: Computation | None = None  # None for an encoder
    sampling_metadata: dict[str, str] = {}  # the sampling parameters that its file recommends: general.sampling.*


class EngineStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and gauges of an engine."""

    n_running: int
    n_waiting: int
    n_tokens_waiting: int = 0  # tokens of prompts that are still to be computed
    n_slots: int
    n_cells: int
    n_cells_used: int
    n_cells_pinned: int = 0  # of pinned prefixes
    n_host_entries: int = 0  # evicted sequences in host memory
    host_bytes: int = 0
    host_bytes_max: int = 0
    prefill_tokens_per_s: float = 0.0  # predicted by the cost model for a prompt of 512 tokens; 0: unknown
    n_steps: int  # since the start, like all counts below
    n_tokens_prefilled: int
    n_tokens_cached: int
    n_tokens_generated: int
    n_answer_steps: int = 0  # steps, counted once for each answer that they gave tokens
    drafted: dict[str, int] = {}  # tokens that were verified, by drafter
    accepted: dict[str, int] = {}  # of these, tokens that are the answer's
    n_prefix_hits: int = 0  # sequences that found at least half of their prompt in the cache
    n_prefix_misses: int = 0
    n_preempted: int = 0
    n_saved: int = 0  # sequences saved to host memory
    n_restored: int = 0  # sequences restored from it
    step_s: float = 0.0  # total time of all steps
    native_s: float = 0.0  # of step_s, time inside native calls
    n_cancelled: int = 0
    n_embed_waiting: int = 0  # requests for embeddings or scores that are not finished
    n_embed_passes: int = 0  # since the start, like all counts below
    n_embed_texts: int = 0
    n_embed_tokens: int = 0
    embed_s: float = 0.0  # time in passes


class AdmissionRefusal(msgspec.Struct, frozen=True):
    """The reason for which a request is not admitted. See OverloadedError."""

    message: str
    retry_after_s: float
