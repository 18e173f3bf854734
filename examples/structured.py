"""Answers in the form of a type: the model can write nothing else."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, Field

from llmcore import LLM


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Review(BaseModel):
    product: str = Field(max_length=40)
    stars: int = Field(ge=1, le=5)
    mood: Mood


TEXT = "I bought the Lumo lamp. It is bright and cheap, I love it!"

with LLM() as llm:
    answer = llm.chat(
        [{"role": "user", "content": f"Describe this review as JSON: {TEXT}"}],
        json_schema=Review,
        max_tokens=200,
        temperature=0,
    )
    review = answer.parse(Review)  # answer.parsed is the same, without its type
    print(answer.text)
    print(f"{review.product}: {review.stars} stars, {review.mood.value}")
