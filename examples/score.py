"""Log-probabilities: how likely texts are after a prompt, and an answer that is one of several."""

from __future__ import annotations

from llmcore import LLM

with LLM() as llm:
    for score, text in zip(
        llm.score("The capital of France is", [" Paris", " Rome", " a"]), ("Paris", "Rome", "a"), strict=True
    ):
        print(f"{score.total:8.3f} {text}")

    question = "Is this review good or bad? 'I love this lamp.' It is"
    print(llm.generate(question, choice=[" good", " bad"], temperature=0))

    answer = llm.generate("Two plus two is", max_tokens=3, temperature=0, logprobs=2)
    for token in answer.logprobs:
        others = ", ".join(f"{other.data.decode(errors='replace')!r} {other.logprob:.2f}" for other in token.top)
        print(f"{token.data.decode(errors='replace')!r} {token.logprob:.2f} (most probable: {others})")

    print(f"perplexity {llm.perplexity('The quick brown fox jumps over the lazy dog.'):.1f}")
