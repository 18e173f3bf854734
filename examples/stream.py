"""An answer shown as it is generated. Leaving the loop cancels the rest."""

from __future__ import annotations

from llmcore import LLM

with LLM() as llm:
    with llm.generate("Once upon a time", max_tokens=48, temperature=0.8, seed=1, stream=True) as stream:
        for piece in stream:
            print(piece, end="", flush=True)
            if "." in piece:
                break
    print(f"\n{len(stream.text)} characters")

    for event in llm.chat([{"role": "user", "content": "Hello!"}], max_tokens=16, seed=1, stream="events"):
        print(event)  # TextEvent, ReasoningEvent, ToolCallEvent; the last one is FinishedEvent
