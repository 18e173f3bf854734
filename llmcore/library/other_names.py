"""Names that users of other libraries bring: taken where they mean the same, else answered with our name.

Sources: llama-cpp-python 0.3 (Llama.__init__, create_completion), vLLM 0.33 (LLM, SamplingParams), transformers 5
(GenerationConfig), Ollama 0.6 (Options).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from llmcore.errors import InvalidRequestError

# Arguments of an answer that mean the same as ours.
ANSWER_NAMES = {
    "max_new_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "n_predict": "max_tokens",
    "repetition_penalty": "repeat_penalty",
    "temp": "temperature",
    "typical": "typical_p",
    "stop_sequences": "stop",
    "top_logprobs": "logprobs",
    "guided_json": "json_schema",
    "guided_regex": "regex",
    "guided_grammar": "grammar",
    "guided_choice": "choice",
    "logits_processors": "logits_processor",
}
# Options of an engine that mean the same as ours.
ENGINE_NAMES = {
    "n_threads": "threads",
    "n_threads_batch": "threads_batch",
    "num_ctx": "n_ctx",
    "max_model_len": "n_ctx",
    "use_mmap": "mmap",
}

# Names that have no exact counterpart, and what to write instead.
_ADVICE = {
    "do_sample": "temperature=0 takes the most probable token, a higher temperature samples",
    "echo": "the answer has no prompt in it: put prompt + answer.text together",
    "best_of": "ask for several answers and choose",
    "num_beams": "LLM.beam_search() searches",
    "stopping_criteria": "stop= ends an answer, and closing a stream does",
    "prompt": "it is the first argument",
    "sampling_params": "give the SamplingParams object as the second argument",
    "functions": "tools= has OpenAI's present form",
    "function_call": "tool_choice= has OpenAI's present form",
    "system": "give chat() a message of role system",
    "format": "response_format= or json_schema= sets the form of the answer",
    "tensor_parallel_size": "threads= sets the number of CPU threads",
    "gpu_memory_utilization": "the size of the KV cache is n_ctx=",
    "n_gpu_layers": "llmcore computes on the CPU",
    "dtype": "the GGUF file decides the type of the weights",
    "quantization": "the GGUF file decides the type of the weights",
    "max_num_seqs": "n_slots= is the number of sequences computed at the same time",
    "max_num_batched_tokens": "n_batch= is the number of tokens of a step",
    "chat_format": "chat_template= names a file with a Jinja template",
    "embedding": "pooling= turns on embeddings of a chat model",
    "verbose": "logging is silent unless it is set up: logging.basicConfig(level=logging.INFO)",
    "logits_all": "logprobs= and LLM.score() need no option",
    "draft_model": "there is no draft model yet",
    "tokenizer": "the tokenizer is part of the GGUF file",
    "trust_remote_code": "no code of a model is run",
    "seed": "give seed= to generate() or chat()",
}


def with_our_names(options: Mapping[str, Any], names: Mapping[str, str], given: Iterable[str] = ()) -> dict[str, Any]:
    """Returns the options under our names. `given` are our arguments that have a value already. Raises InvalidRequestError if one
    argument comes under two names."""
    renamed: dict[str, Any] = {}
    seen = dict.fromkeys(given, "")
    for name, value in options.items():
        ours = names.get(name, name)
        if ours in seen:
            other = seen[ours] or ours
            raise InvalidRequestError(f"{name} and {other} are the same argument: give one of them", param=name)
        seen[ours] = name
        renamed[ours] = value
    return renamed


def unknown_argument(name: str, known: Iterable[str], kind: str) -> InvalidRequestError:
    """Returns the error for an unknown argument, with a hint if there is one. `kind` is its kind in the message: "argument"."""
    hint = _ADVICE.get(name, "")
    if not hint:
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else ""
    return InvalidRequestError(f"unknown {kind}: {name}" + (f" ({hint})" if hint else ""), param=name)
