"""A question, and the model's answer."""

from __future__ import annotations

from llmcore import LLM

with LLM() as llm:  # the model of `llmcore pull`; LLM("model.gguf", n_ctx=4096, threads=4) loads another one
    answer = llm.chat(
        [
            {"role": "system", "content": "The library opens at 9 in the morning."},
            {"role": "user", "content": "When does the library open?"},
        ],
        max_tokens=64,
        temperature=0,
    )
    print(answer)
    print(f"{answer.usage.n_prompt} tokens read, {answer.usage.n_generated} written, ended by {answer.finish_reason}")
