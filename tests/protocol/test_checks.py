"""Commands with fields of wrong types: refused by name before anything is sent, whoever asks, and nobody else notices."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from llmcore import LLM
from llmcore.config import EngineConfig
from llmcore.errors import InvalidRequestError
from llmcore.messages import ChatPrompt, Finished, GenerateRequest, Grammar, PrefixSpec, Regex, TextPrompt, TokensPrompt
from llmcore.protocol import framing as wire
from llmcore.protocol.checks import checked, checked_request
from llmcore.protocol.commands import (
    Command,
    DetokenizeCommand,
    EmbedCommand,
    PinCommand,
    RerankCommand,
    SubmitCommand,
    TokenizeCommand,
)
from llmcore.sampling import SamplingParams
from llmcore.worker.client import AsyncEngine

DECODER: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)


def request(**fields: Any) -> GenerateRequest:
    given: dict[str, Any] = {"request_id": "a", "prompt": TextPrompt("x"), "max_tokens": 1} | fields
    return GenerateRequest(**given)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


MISTYPED: list[tuple[dict[str, Any], str]] = [
    ({"priority": "urgent"}, "priority"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 2**70}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"stop": "abc"}, "stop"),
    ({"stop_token_ids": ("a",)}, "stop_token_ids"),
    ({"stop_token_ids": 5}, "stop_token_ids"),
    ({"min_tokens": -1}, "min_tokens"),
    ({"min_tokens": 1.5}, "min_tokens"),
    ({"min_tokens": 2, "max_tokens": 1}, "min_tokens"),
    ({"min_tokens": 1, "constraint": Regex("a")}, "min_tokens"),
    ({"shows_stop": 1}, "shows_stop"),
    ({"shows_special_tokens": "no"}, "shows_special_tokens"),
    ({"stop": ("a", 5)}, "stop"),
    ({"stop": ("",)}, "stop"),
    ({"stop": nested(100_000)}, "stop"),
    ({"stop": ("\ud800",)}, "stop"),
    ({"prompt": TextPrompt(cast(Any, 5))}, "prompt"),
    ({"prompt": TextPrompt("\udfff")}, "prompt"),
    ({"prompt": "text"}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": TokensPrompt(cast(Any, (1, "a")))}, "prompt"),
    ({"prompt": TokensPrompt(cast(Any, (1.5,)))}, "prompt"),
    ({"prompt": ChatPrompt(cast(Any, "[]"))}, "prompt"),
    ({"prompt": ChatPrompt(b"[]", tool_choice=cast(Any, "maybe"))}, "prompt"),
    ({"sampling": None}, "sampling"),
    ({"sampling": TextPrompt(cast(Any, 2**70))}, "sampling"),
    ({"constraint": Regex(cast(Any, 5))}, "constraint"),
    ({"constraint": Grammar("a", cast(Any, "bnf"))}, "constraint"),
    ({"constraint": TextPrompt("a")}, "constraint"),
    ({"constraint": Regex("a"), "ignore_eos": True}, "ignore_eos"),
    ({"keeps_prefix": 1}, "keeps_prefix"),
    ({"n_logprobs": 21}, "n_logprobs"),
    ({"n_logprobs": "2"}, "n_logprobs"),
    ({"tenant": object()}, "tenant"),
    ({"tenant": lambda: None}, "tenant"),
    ({"timeout_s": "5"}, "timeout_s"),
    ({"timeout_s": math.nan}, "timeout_s"),
    ({"timeout_s": -1}, "timeout_s"),
    ({"request_id": 5}, "request_id"),
    ({"request_id": "\udc80"}, "request_id"),
    ({"request_id": ["a"]}, "request_id"),
]


NAMES = [f"{name}-{i}" for i, (_, name) in enumerate(MISTYPED)]


@pytest.mark.parametrize(("fields", "name"), MISTYPED, ids=NAMES)
def test_what_cannot_be_read_names_its_field(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        checked_request(request(**fields))
    assert caught.value.param == name
    assert name in caught.value.message


def test_a_mistyped_field_is_named_with_its_struct() -> None:
    with pytest.raises(InvalidRequestError, match=r"^GenerateRequest\.priority: invalid enum value 'urgent'"):
        checked_request(request(priority="urgent"))
    with pytest.raises(InvalidRequestError, match=r"^GenerateRequest\.prompt\.text: expected `str`, got `int`"):
        checked_request(request(prompt=TextPrompt(cast(Any, 5))))
    with pytest.raises(InvalidRequestError, match=r"^PrefixSpec\.name: "):
        checked(PinCommand(1, PrefixSpec(name=cast(Any, 5), prompt=TextPrompt("a"))))
    with pytest.raises(InvalidRequestError, match=r"^text: ") as caught:
        checked(TokenizeCommand(1, cast(Any, 5), True, False))
    assert caught.value.param == "text"


@pytest.mark.parametrize("asked", [None, 5, "a", {}, TextPrompt("a")], ids=repr)
def test_what_is_no_request_at_all(asked: Any) -> None:
    with pytest.raises(InvalidRequestError):
        checked_request(asked)


def test_numbers_of_numpys_become_plain_ones() -> None:
    fields = {"max_tokens": np.int64(5), "timeout_s": np.float32(1.5), "prompt": TokensPrompt(cast(Any, np.arange(3)))}
    found = checked_request(request(**fields, tenant=np.str_("t"), keeps_prefix=np.bool_(False)))
    assert (found.max_tokens, found.timeout_s, found.prompt) == (5, 1.5, TokensPrompt((0, 1, 2)))
    assert (type(found.max_tokens), type(found.tenant), found.keeps_prefix) == (int, str, False)


def test_what_is_right_stays_as_it_is() -> None:
    sampling = SamplingParams(logit_bias={3: 1.0}, seed=5)
    given = request(sampling=sampling, stop=("a", "é"), constraint=Regex("a+"), timeout_s=1, priority="low")
    assert checked_request(given) == given
    for command in (DetokenizeCommand(1, (1, 2)), EmbedCommand(2, ("a", (1, 2)), 5), RerankCommand(3, "a", ("b",))):
        assert checked(command) == command


@pytest.mark.parametrize("fields", [{"temperature": "a"}, {"logit_bias": 5}, {"seed": "x"}, {"top_k": 10**400}])
def test_sampling_parameters_of_wrong_types(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SamplingParams(**fields)
    assert caught.value.param == next(iter(fields))


def test_a_request_that_no_frame_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 1000)
    checked_request(request())
    with pytest.raises(InvalidRequestError, match="1000"):
        checked_request(request(prompt=TextPrompt("x" * 1000)))


# --- The real worker --------------------------------------------------------------------------------------------------

WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(-(2**70), 2**70), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from([np.int64(5), np.float64(1.5), np.arange(3), object(), int, {1, 2}, ..., 1j, nested(5000)]),
    st.builds(TextPrompt, st.one_of(st.integers(), st.text(max_size=2))),
    st.builds(TokensPrompt, st.lists(st.integers(-5, 5) | st.text(max_size=1), max_size=3).map(tuple)),
)
FIELDS = st.dictionaries(st.sampled_from(GenerateRequest.__struct_fields__), WRONG, min_size=1, max_size=3)


class Service:
    """An engine with a tiny model whose loop a test drives."""

    def __init__(self, path: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.engine = AsyncEngine(EngineConfig(model_path=str(path), n_ctx=512, n_slots=4), log_level="warning")
        self.run(self.engine.start())
        self.run(self.engine.wait_ready())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self.engine.stop())
        self.loop.close()


@pytest.fixture(scope="module")
def service(tiny: Callable[..., Path]) -> Iterator[Service]:
    made = Service(tiny("plain"))
    yield made
    made.close()


async def read(generation: AsyncIterator[Any]) -> Finished:
    outputs = [each async for each in generation]
    assert isinstance(outputs[-1], Finished)
    return outputs[-1]


async def ask(engine: AsyncEngine, asked: Any) -> Finished:
    return await read(await engine.generate(asked))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FIELDS)
def test_no_field_whatever_it_holds_ends_the_worker(service: Service, fields: dict[str, Any]) -> None:
    """It is refused by name, or it is a request like others; and who asks meanwhile is answered."""
    asked = request(**fields)
    try:
        expected = DECODER.decode(msgspec.msgpack.encode(SubmitCommand(asked)))
        assume(cast(SubmitCommand, expected).request.request_id == "a")
    except (TypeError, ValueError, OverflowError, RecursionError):
        expected = None

    async def both() -> tuple[Any, Any]:
        other = ask(service.engine, request(request_id="bystander", max_tokens=2, ignore_eos=True))
        return cast(tuple[Any, Any], await asyncio.gather(ask(service.engine, asked), other, return_exceptions=True))

    found, other = service.run(asyncio.wait_for(both(), 60))
    assert isinstance(found, (Finished, InvalidRequestError)), found
    numpys = any(hasattr(value, "tolist") for value in fields.values())
    if expected is None and not numpys:
        assert isinstance(found, InvalidRequestError)
        assert found.param in fields or found.param is None
    assert other.reason == "length"
    assert service.engine.n_restarts == 0


def test_calls_with_wrong_types_are_refused_by_name(service: Service) -> None:
    engine = cast(Any, service.engine)
    bad: list[tuple[Any, tuple[Any, ...]]] = [
        (engine.tokenize, (5,)),
        (engine.tokenize, ("\ud800",)),
        (engine.detokenize, (5,)),
        (engine.detokenize, (["a"],)),
        (engine.detokenize, ([2**70],)),
        (engine.render, ("[]",)),
        (engine.render, (ChatPrompt(cast(Any, 5)),)),
        (engine.embed, (5,)),
        (engine.embed, ([5],)),
        (engine.rerank, (5, ["a"])),
        (engine.rerank, ("a", [5])),
        (engine.pin, (PrefixSpec(name="a", prompt=cast(Any, "text")),)),
        (engine.pin, ("a",)),
        (engine.unpin, (5,)),
    ]
    for call, arguments in bad:
        with pytest.raises(InvalidRequestError) as caught:
            service.run(call(*arguments))
        assert caught.value.param, caught.value
    assert not service.run(engine.cancel(["a"]))
    assert service.run(engine.tokenize("a")) == service.run(engine.tokenize("a"))
    assert service.engine.n_restarts == 0


# --- In one's own process ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library(tiny: Callable[..., Path]) -> Iterator[LLM]:
    with LLM(tiny("plain"), n_ctx=512) as loaded:
        yield loaded


@pytest.mark.parametrize(("fields", "name"), MISTYPED, ids=NAMES)
def test_an_engine_in_this_process_refuses_the_same(library: LLM, fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        library.engine.submit(request(**fields))
    assert caught.value.param == name
    assert not library.engine.has_work


@pytest.mark.parametrize(
    "call",
    [
        lambda llm: llm.generate(5),
        lambda llm: llm.generate("a", max_tokens=1.5),
        lambda llm: llm.generate("a", stop=5),
        lambda llm: llm.generate([b"a"]),
        lambda llm: llm.generate("a", logprobs="x"),
        lambda llm: llm.chat(5),
        lambda llm: llm.chat("hello"),
        lambda llm: llm.chat([5]),
        lambda llm: llm.tokenize(5),
        lambda llm: llm.detokenize(5),
        lambda llm: llm.detokenize(["a"]),
        lambda llm: llm.detokenize([1.5]),
        lambda llm: llm.embed(5),
        lambda llm: llm.embed(["a"], dimensions="x"),
        lambda llm: llm.rerank(5, ["a"]),
        lambda llm: llm.rerank("a", 5),
        lambda llm: llm.engine.render("a"),
        lambda llm: llm.engine.prefixes.pin("a"),
    ],
)
def test_a_library_call_with_a_wrong_type(library: LLM, call: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidRequestError):
        call(library)
    with suppress(ValueError):
        assert library.generate("a", max_tokens=1).usage.n_generated == 1
