"""Tool-call grammars that can be read in too many ways: the answer ends, and the process goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import InvalidRequestError, NativeError
from llmcore.llama import chat
from llmcore.llama.chat import ChatTemplate
from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler
from llmcore.llama.tool_schema import RelaxedSchema
from llmcore.messages import ChatPrompt, Failed, Finished, GenerateRequest, TextPrompt
from llmcore.sampling import SamplingParams

MESSAGES = b'[{"role": "user", "content": "Hi"}]'


@pytest.fixture
def unbounded_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patterns reach the matcher, which the check before would not let through."""
    monkeypatch.setattr(chat, "relax_schema", RelaxedSchema)


def grammar_of(model: Model, pattern: str) -> str:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}, "required": ["a"]}
    tools = json.dumps([{"type": "function", "function": {"name": "f", "parameters": schema}}]).encode()
    with ChatTemplate(model) as template:
        return template.render(ChatPrompt(MESSAGES, tools=tools, tool_choice="required")).grammar


def write(model: Model, grammar: str, n: int) -> str:
    """An answer of n tokens that would rather be nothing but the letter a."""
    logits = np.random.default_rng(0).normal(size=model.n_vocab).astype(np.float32)
    for token in model.tokenize("aaaaaaaaaaaaaaaa", add_special=False):
        logits[token] += 8
    with Sampler(model, SamplingParams(temperature=0.0), n_ctx=256) as sampler:
        sampler.constrain(grammar)
        return model.detokenize([sampler.sample_logits(logits) for _ in range(n)])


@pytest.mark.usefixtures("unbounded_patterns")
@pytest.mark.parametrize("pattern", ["^((a?){30}){30}$", "^(a{0,1000}){0,1000}$", "^(((a?){9}b?){9}){9}$"])
def test_an_ambiguous_grammar_ends_the_answer(pattern: str, chat_model: Model) -> None:
    grammar = grammar_of(chat_model, pattern)
    with pytest.raises(NativeError, match="too many readings"):
        write(chat_model, grammar, 60)


@pytest.mark.usefixtures("unbounded_patterns")
def test_optional_parts_that_are_nested_too_often_are_no_grammar(chat_model: Model) -> None:
    """llama.cpp looks for left recursion below each of them again."""
    rules = "".join(f'r{i} ::= "" | r{i + 1} r{i + 1}\n' for i in range(40))
    described = json.loads(grammar_of(chat_model, "^a$")) | {"grammar": f'root ::= r0 "x"\n{rules}r40 ::= "" | "a"\n'}
    with (
        Sampler(chat_model, SamplingParams(), n_ctx=64) as sampler,
        pytest.raises(InvalidRequestError, match="nested too often"),
    ):
        sampler.constrain(json.dumps(described))


def test_a_plain_pattern_is_held(chat_model: Model) -> None:
    assert '"a":"aaaaa"' in write(chat_model, grammar_of(chat_model, "^a{5}$"), 60).replace(" ", "")


def test_a_pattern_beyond_the_bound_is_left_out(chat_model: Model) -> None:
    assert "aaaaaaaaaaaaaaaaaa" in write(chat_model, grammar_of(chat_model, "^((a?){30}){30}$"), 60)


@pytest.mark.usefixtures("unbounded_patterns")
def test_an_answer_whose_grammar_is_spent_fails_alone(default_model: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "^((a?){30}){30}$"}},
        "required": ["a"],
    }
    tools = json.dumps([{"type": "function", "function": {"name": "f", "parameters": schema}}]).encode()
    prompt = ChatPrompt(MESSAGES, tools=tools, tool_choice="required")
    with Engine.open(
        EngineConfig(model_path=str(default_model), n_ctx=512, flash_attn="off", cache_type_k="f16", cache_type_v="f16")
    ) as engine:
        engine.submit(GenerateRequest(request_id="other", prompt=TextPrompt("Once"), max_tokens=40, ignore_eos=True))
        engine.submit(GenerateRequest(request_id="tools", prompt=prompt, max_tokens=40, ignore_eos=True))
        outputs = []
        while engine.has_work:
            outputs += engine.step()
    [failed] = [each for each in outputs if isinstance(each, Failed)]
    assert (failed.request_id, failed.code, failed.param) == ("tools", "constraint_failed", "tools")
    finished = [each for each in outputs if isinstance(each, Finished)]
    assert [(each.request_id, each.usage.n_generated) for each in finished] == [("other", 40)]
