"""Speculated = not speculated, bit for bit: a drafter that knows the answers, or some of them, or none, against no drafter."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcore.batch import Batch
from llmcore.config import KERNEL_LEVELS, EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import CellsBrokenError
from llmcore.llama.context import StepAborted
from llmcore.messages import (
    Failed,
    Finished,
    GenerateRequest,
    Grammar,
    JsonObject,
    JsonSchema,
    Output,
    Piece,
    Regex,
    TextPrompt,
    TokenLogprob,
    TokensPrompt,
)
from llmcore.sampling import SamplingParams
from tests.conftest import exact
from tests.engine.engine_requests import GREEDY, STORY, chat
from tests.engine.scripted_drafter import ScriptedDrafter, drafting
from tests.native_kernels import levels
from tests.tiny_models import break_token, write_tiny_gemma3

INTEGER_LEVELS = [KERNEL_LEVELS[level] for level in levels() if KERNEL_LEVELS[level] != "amx"]

pytestmark = pytest.mark.skipif(not INTEGER_LEVELS, reason="this build or machine has no kernels")


class Answer(msgspec.Struct, frozen=True):
    """All that a caller gets, but for times and steps."""

    text: str
    reasoning: str
    calls: tuple[tuple[str, str], ...]  # names and arguments
    reason: str
    stop_string: str
    tokens: tuple[int, ...]
    n_reasoning: int
    logprobs: tuple[TokenLogprob, ...]


def config_of(path: Path, **options: object) -> EngineConfig:
    plain = EngineConfig(
        model_path=str(path),
        n_ctx=2048,
        n_slots=4,
        threads=2,
        kernels=INTEGER_LEVELS[-1],
        flash_attn="on",
        cache_type_k="f16",
        cache_type_v="f16",
        self_check="off",
        host_cache_bytes=20_000_000,
    )
    return replace(plain, **options)  # type: ignore[arg-type]


def whole(outputs: list[Output]) -> Answer:
    parts = [each for each in outputs if isinstance(each, (Piece, Finished))]
    end = parts[-1]
    assert isinstance(end, Finished)
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for call in (call for part in parts for call in part.calls):
        names[call.index] = names.get(call.index, "") + call.name
        arguments[call.index] = arguments.get(call.index, "") + call.arguments
    n_told = sum(part.n_tokens for part in parts if isinstance(part, Piece))
    assert n_told <= end.usage.n_generated
    return Answer(
        text="".join(part.text for part in parts),
        reasoning="".join(part.reasoning for part in parts),
        calls=tuple((names[i], arguments[i]) for i in sorted(names)),
        reason=end.reason,
        stop_string=end.stop_string,
        tokens=end.tokens,
        n_reasoning=end.usage.n_reasoning,
        logprobs=tuple(each for part in parts for each in part.logprobs),
    )


def serve(engine: Engine, asked: list[GenerateRequest], n_together: int = 1) -> dict[str, Answer]:
    """Serves requests, n_together at a time, and checks that a step gives each of them one output."""
    waiting, found = list(reversed(asked)), dict[str, list[Output]]()
    done: dict[str, Answer] = {}
    while waiting or engine.has_work:
        while waiting and len(found) - len(done) < n_together:
            each = waiting.pop()
            engine.submit(each)
            found[each.request_id] = []
        outputs = engine.step()
        assert len({each.request_id for each in outputs}) == len(outputs)
        for output in outputs:
            assert not isinstance(output, Failed), output
            found[output.request_id].append(output)
            if isinstance(output, Finished):
                done[output.request_id] = whole(found[output.request_id])
    return done


def check(
    config: EngineConfig,
    asked: list[GenerateRequest],
    *,
    rights: tuple[float, ...] = (1.0, 0.0, 0.8),
    n_together: int = 3,
) -> dict[str, Answer]:
    """Asserts that drafts change no answer. Returns the answers."""
    with Engine.open(replace(config, speculation="off")) as engine:
        expected = serve(engine, asked)
        n_vocab = engine.model.n_vocab
    for right in rights:
        drafter = ScriptedDrafter(n_vocab, right=right, seed=int(right * 10))
        drafter.answers = {name: answer.tokens for name, answer in expected.items()}
        with drafting(config, drafter) as engine:
            found = serve(engine, asked, n_together)
            stats = engine.stats()
        for name, answer in expected.items():
            assert found[name] == answer, (right, name)
        assert not drafter.open
        n_accepted = sum(n for _, n in drafter.seen)
        if right == 1.0:
            assert n_accepted > 0
            assert stats.n_answer_steps < stats.n_tokens_generated
        elif right == 0.0:
            assert n_accepted < stats.n_tokens_generated / 10
        assert stats.accepted["text"] == n_accepted
        assert stats.drafted["text"] >= sum(n for n, _ in drafter.seen)
    return expected


def ask(name: object, prompt: object, **details: object) -> GenerateRequest:
    source = TextPrompt(prompt) if isinstance(prompt, str) else prompt
    return GenerateRequest(request_id=str(name), prompt=source, **({"max_tokens": 40, "sampling": GREEDY} | details))  # type: ignore[arg-type]


SAMPLINGS = (
    GREEDY,
    SamplingParams(temperature=0.8, seed=1),
    SamplingParams(temperature=1.5, seed=2, top_k=50, top_p=0.95, min_p=0.02),
    SamplingParams(temperature=0.7, seed=3, repeat_penalty=1.2, frequency_penalty=0.5, presence_penalty=0.5),
    SamplingParams(temperature=0.0, dry_multiplier=0.8, dry_allowed_length=2),
    SamplingParams(temperature=1.0, seed=4, mirostat=2),
    SamplingParams(temperature=1.0, seed=5, xtc_probability=0.5, xtc_threshold=0.1, logit_bias={28: 3.0}),
)
QUESTIONS = (
    "List three animals and say one thing about each of them.",
    "Repeat: one two three four five six seven eight nine ten.",
    "What is the capital of France, and why is it famous?",
    "Write a short poem about the sea.",
)
SCHEMA = msgspec.json.encode(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer"},
            "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3},
        },
        "required": ["name", "age", "tags"],
    }
)


def test_answers_of_the_default_model_under_all_ways_to_sample(default_model: Path) -> None:
    asked = [
        ask(f"{i}-{k}", chat(("user", question)), sampling=sampling, n_logprobs=(None, 3)[(i + k) % 2])
        for i, question in enumerate(QUESTIONS)
        for k, sampling in enumerate(SAMPLINGS)
    ]
    check(config_of(default_model), asked, rights=(0.8,))


def test_ends_of_answers(default_model: Path) -> None:
    """Stop strings, stop tokens, the length, end tokens that are passed over, and answers that may not end yet."""
    prompt, sampling = chat(("user", QUESTIONS[0])), SamplingParams(temperature=0.9, seed=6)
    asked = [
        *(ask(f"length-{n}", prompt, max_tokens=n) for n in (1, 2, 3, 4, 5, 9)),
        *(ask(f"stop-{stop}", prompt, stop=(stop,)) for stop in ("the", ". ", "animals", "s and", "never comes")),
        ask("shown", prompt, stop=("animals",), shows_stop=True),
        ask("tokens", prompt, stop_token_ids=tuple(range(30))),
        ask("eos", prompt, ignore_eos=True, max_tokens=120),
        ask("special", prompt, ignore_eos=True, max_tokens=120, shows_special_tokens=True),
        ask("min", prompt, min_tokens=60, max_tokens=80, stop=("the",)),
        ask("discarded", prompt, keeps_prefix=False),
        ask("prompt", prompt, n_prompt_logprobs=2),
    ]
    asked += [msgspec.structs.replace(each, request_id=f"{each.request_id}-b", sampling=sampling) for each in asked]
    answers = check(config_of(default_model), asked, rights=(0.8,))
    assert {each.reason for each in answers.values()} == {"stop", "length"}
    assert any(each.stop_string for each in answers.values())


def test_constraints(default_model: Path) -> None:
    constraints = (
        JsonSchema(SCHEMA),
        JsonObject(),
        Regex(r"(red|green|blue)( and (red|green|blue)){2,5}\."),
        Grammar('root ::= "yes" | "no" ws word\nws ::= " "\nword ::= [a-z]{3,12}', "gbnf"),
    )
    prompt = chat(("user", "Tell me about Anna, who is 33 years old and likes red and blue, as JSON."))
    asked = [
        ask(f"{i}-{k}-{n}", prompt, constraint=constraint, sampling=sampling, n_logprobs=n, max_tokens=60)
        for i, constraint in enumerate(constraints)
        for k, sampling in enumerate((GREEDY, SamplingParams(temperature=1.0, seed=8)))
        for n in (None, 2)
    ]
    answers = check(config_of(default_model), asked, rights=(1.0, 0.5))
    assert any(each.reason == "stop" for each in answers.values())


def test_tools(default_model: Path) -> None:
    tools = msgspec.json.encode(
        [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer"}},
                        "required": ["city", "days"],
                    },
                },
            }
        ]
    )
    question = chat(("user", "What is the weather in Paris in the next 3 days?"))
    prompts = [msgspec.structs.replace(question, tools=tools, tool_choice=choice) for choice in ("auto", "required")]
    asked = [
        ask(f"{i}-{k}", prompt, sampling=sampling, max_tokens=60)
        for i, prompt in enumerate(prompts)
        for k, sampling in enumerate((GREEDY, SamplingParams(temperature=1.0, seed=3)))
    ]
    answers = check(config_of(default_model), asked, rights=(0.8,))
    assert any(each.calls for each in answers.values())


def test_a_model_with_a_sliding_window(tiny_dir: Path) -> None:
    path = tiny_dir / "drafted-window.gguf"
    write_tiny_gemma3(path, quant="Q8_0", sliding_window=40)
    chance = random.Random(4)
    asked = [
        ask(i, " ".join(chance.choice(STORY.split()) for _ in range(chance.randrange(1, 120))), ignore_eos=True)
        for i in range(8)
    ]
    check(config_of(path, n_ctx=512, n_slots=2), asked, rights=(0.8, 0.0))


@pytest.fixture(scope="module")
def repeats(tiny: Callable[..., Path]) -> Path:
    return tiny("repeats", quant="Q8_0", n_embd=128, n_ff=96, n_head=4, n_head_kv=2)


def test_context_shift(repeats: Path) -> None:
    config = config_of(repeats, n_ctx=128, context_shift=True, n_slots=2)
    asked = [ask(i, STORY + " one" * i, max_tokens=400, ignore_eos=True) for i in range(2)]
    check(config, asked, n_together=1)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), right=st.floats(0, 1), n_slots=st.integers(1, 4), n_ctx=st.sampled_from([160, 1024]))
def test_random_drafts_in_random_company(repeats: Path, seed: int, right: float, n_slots: int, n_ctx: int) -> None:
    """With neighbours, and cells so few that sequences are preempted; cancels leave nothing behind."""
    chance = random.Random(seed)
    words = STORY.split()
    asked = [
        ask(
            i,
            " ".join(chance.choice(words) for _ in range(chance.randrange(1, 40))),
            sampling=chance.choice(SAMPLINGS),
            ignore_eos=True,
            max_tokens=chance.choice([1, 5, 20, 50]),
            n_logprobs=chance.choice([None, 1]),
        )
        for i in range(6)
    ]
    config = config_of(repeats, n_ctx=n_ctx, n_slots=n_slots)
    check(config, asked, rights=(right,), n_together=n_slots + 1)


def test_the_cache_keeps_what_was_accepted_and_nothing_else(repeats: Path) -> None:
    """After a request, a follow-up finds its tokens in the cache and has the answer of a fresh engine; so has one that begins
    with an answer that was cancelled, or with half of one."""
    config = config_of(repeats)
    first = ask("first", STORY, ignore_eos=True, max_tokens=60)
    with Engine.open(replace(config, speculation="off")) as engine:
        tokens = serve(engine, [first])["first"].tokens
        prompt = engine.model.tokenize(STORY)
        n_vocab = engine.model.n_vocab
        follow_ups = {n: follow_up(engine, [*prompt, *tokens[:n]]) for n in (60, 30)}
        cached = {n: usage for n, (_, usage) in follow_ups.items()}
    drafter = ScriptedDrafter(n_vocab, right=0.8)
    drafter.answers = {"first": tokens}
    with drafting(config, drafter) as engine:
        assert serve(engine, [first])["first"].tokens == tokens
        for n, (answer, _) in follow_ups.items():
            found, n_cached = follow_up(engine, [*prompt, *tokens[:n]])
            assert (found, n_cached) == (answer, cached[n])
        engine.drop_cached_prefixes()
        engine.submit(first)
        while engine.stats().n_tokens_generated < 100:
            engine.step()
        assert engine.cancel("first") is not None
        assert follow_up(engine, [*prompt, *tokens[:30]])[0] == follow_ups[30][0]
        engine.drop_cached_prefixes()
        assert engine.stats().n_cells_used == 0


def follow_up(engine: Engine, tokens: list[int]) -> tuple[Answer, int]:
    name = f"follow-up {len(tokens)}"
    asked = ask(name, TokensPrompt((*tokens, 5, 6)), max_tokens=10, ignore_eos=True, n_logprobs=2)
    engine.submit(asked)
    outputs: list[Output] = []
    while engine.has_work:
        outputs += engine.step()
    assert isinstance(outputs[-1], Finished)
    return whole(outputs), outputs[-1].usage.n_cached


# --- Steps that do not end well ---------------------------------------------------------------------------------------


@pytest.fixture
def drafted(repeats: Path) -> Iterator[tuple[Engine, GenerateRequest, tuple[int, ...]]]:
    """An engine with right drafts, a request and the tokens of its answer."""
    asked = ask("a", STORY, ignore_eos=True)
    with Engine.open(config_of(repeats, speculation="off")) as engine:
        tokens = serve(engine, [asked])["a"].tokens
        drafter = ScriptedDrafter(engine.model.n_vocab)
    drafter.answers = {"a": tokens}
    with drafting(config_of(repeats), drafter) as engine:
        yield engine, asked, tokens


def finished(engine: Engine) -> Finished:
    outputs: list[Output] = []
    while engine.has_work:
        outputs += engine.step()
    assert isinstance(outputs[-1], Finished)
    return outputs[-1]


def cells_are_those_of_tokens(engine: Engine) -> None:
    [running] = engine._scheduler.running
    assert running.n_drafted == 0
    assert engine._context.span(running.slot) == (0, running.n_computed - 1)


def test_a_step_that_fails_takes_its_drafts_back(
    drafted: tuple[Engine, GenerateRequest, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, asked, tokens = drafted
    engine.submit(asked)
    while not engine.stats().drafted["text"]:
        engine.step()
    decode = engine._context.decode

    def late(batch: Batch) -> None:
        decode(batch)
        raise StepAborted

    with monkeypatch.context() as patched:
        patched.setattr(engine._context, "decode", late)
        for _ in range(3):
            assert engine.step() == []
            cells_are_those_of_tokens(engine)
    assert finished(engine).tokens == tokens


def test_after_ctrl_c_between_two_tokens_of_a_step_the_answer_goes_on(
    drafted: tuple[Engine, GenerateRequest, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, asked, tokens = drafted
    engine.submit(asked)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(engine._draft_rounds, "_draw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finished(engine)
    cells_are_those_of_tokens(engine)
    assert finished(engine).tokens == tokens


@pytest.mark.parametrize("flash_attn", ["on", "off"])
def test_a_rejected_token_whose_numbers_are_not_finite(tiny: Callable[..., Path], flash_attn: str) -> None:
    """It changes no answer; where it may have spoilt cells of others, the engine ends."""
    path = break_token(tiny("untied", is_tied=False), 777)
    config = exact(path, n_ctx=256, n_slots=2, flash_attn=flash_attn)
    asked = ask("a", TokensPrompt((5, 6, 7)), ignore_eos=True, max_tokens=20)
    with Engine.open(replace(config, speculation="off")) as engine:
        tokens = serve(engine, [asked])["a"].tokens
        drafter = ScriptedDrafter(engine.model.n_vocab)
    drafter.answers = {"a": (*tokens[:10], 777, *tokens[11:])}
    with drafting(config, drafter) as engine:
        if flash_attn == "on":
            assert serve(engine, [asked])["a"].tokens == tokens
        else:
            with pytest.raises(CellsBrokenError, match="not finite"):
                serve(engine, [asked])
