"""Requests to an engine, and their answers as a whole."""

from __future__ import annotations

import msgspec

from llmcore.engine.engine import Engine
from llmcore.messages import (
    ChatPrompt,
    Failed,
    Finished,
    GenerateRequest,
    Output,
    Piece,
    PrefixSpec,
    Prompt,
    TextPrompt,
)
from llmcore.sampling import SamplingParams
from tests.conftest import SURE_QUESTION, SURE_SYSTEM

GREEDY = SamplingParams(temperature=0.0)
STORY = "Once upon a time, in a small village by the sea, there lived"
SURE = (("system", SURE_SYSTEM), ("user", SURE_QUESTION))


def chat(*messages: tuple[str, str]) -> ChatPrompt:
    return ChatPrompt(msgspec.json.encode([{"role": role, "content": text} for role, text in messages]))


def request(name: str, prompt: Prompt | str, **details: object) -> GenerateRequest:
    details = {"sampling": GREEDY, "max_tokens": 24} | details
    source = TextPrompt(prompt) if isinstance(prompt, str) else prompt
    return GenerateRequest(request_id=name, prompt=source, **details)  # type: ignore[arg-type]


def run(engine: Engine, *requests: GenerateRequest) -> dict[str, Finished]:
    """Serves all requests at once; each answer's text is in its Finished, whole."""
    texts: dict[str, str] = {}
    done: dict[str, Finished] = {}
    for each in requests:
        engine.submit(each)
        texts[each.request_id] = ""
    while engine.has_work:
        for output in engine.step():
            assert not isinstance(output, Failed), output
            if isinstance(output, (Piece, Finished)):
                texts[output.request_id] += output.text
            if isinstance(output, Finished):
                done[output.request_id] = msgspec.structs.replace(output, text=texts[output.request_id])
    assert engine.stats().n_running == engine.stats().n_waiting == 0
    return done


def pin(engine: Engine, name: str, prompt: Prompt) -> int:
    engine.prefixes.pin(PrefixSpec(name=name, prompt=prompt))
    while engine.has_work:
        engine.step()
    [info] = [each for each in engine.prefixes.infos() if each.name == name]
    assert info.is_computed
    return info.n_tokens


def finish(engine: Engine) -> None:
    while engine.has_work:
        engine.step()


def outputs(engine: Engine, *requests: GenerateRequest) -> dict[str, list[Output]]:
    found: dict[str, list[Output]] = {}
    for each in requests:
        engine.submit(each)
        found[each.request_id] = []
    while engine.has_work:
        for output in engine.step():
            found[output.request_id].append(output)
    return found


def said(found: list[Output]) -> str:
    return "".join(each.text for each in found if isinstance(each, (Piece, Finished)))
