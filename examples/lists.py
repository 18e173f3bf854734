"""Many prompts at once: answers in order, computed together."""

from __future__ import annotations

from llmcore import LLM

CAPITALS = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Peru": "Lima"}

conversations = [
    [
        {"role": "system", "content": f"The capital of {country} is {capital}."},
        {"role": "user", "content": f"What is the capital of {country}?"},
    ]
    for country, capital in CAPITALS.items()
]

with LLM(n_slots=4) as llm:  # so many are computed at a time; the others wait for their turn
    for country, answer in zip(CAPITALS, llm.chat(conversations, max_tokens=20, temperature=0), strict=True):
        print(f"{country}: {answer}")

    # Several answers to one prompt, drawn with seeds 7, 8 and 9.
    for choice in llm.generate("My favourite colour is", n=3, seed=7, max_tokens=8).choices:
        print(choice.text)
