"""The least number of tokens of a text, by its length alone: never more than there are, for the vocabularies of many models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcore.engine.prompt_limit import PromptBound
from llmcore.engine.prompts import Prompts
from llmcore.errors import ContextLengthError, InvalidRequestError
from llmcore.limits import Limits
from llmcore.llama.chat import ChatTemplate
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt, Prompt, TextPrompt

# Texts that tokenizers are fond of shortening.
BLANKS = [" ", "  ", "\n", "\t", "▁", "Ġ", "\u0301", "\u200d", "\0"]
PARTS = st.sampled_from([*BLANKS, "a", "=", "-", "é", "😀", "的", "<|end|>", "</s>", "<mask>"])
TEXTS = st.one_of(
    st.text(max_size=60),
    st.builds(lambda part, n: part * n, PARTS, st.integers(1, 400)),
    st.lists(st.builds(lambda part, n: part * n, PARTS, st.integers(1, 50)), max_size=6).map("".join),
)
VOCABULARIES = ["llama-spm", "llama-bpe", "phi-3", "gemma-4", "bert-bge"]


@pytest.fixture(scope="module", params=VOCABULARIES)
def vocabulary(request: pytest.FixtureRequest, llama_cpp: Path) -> Model:
    path = llama_cpp / "models" / f"ggml-vocab-{request.param}.gguf"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the source")
    return Model(path, vocab_only=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.booleans())
def test_a_text_has_no_fewer_tokens_than_its_length_says(vocabulary: Model, text: str, parse_special: bool) -> None:
    n = len(vocabulary.tokenize(text, add_special=False, parse_special=parse_special))
    assert vocabulary.tokens_at_least(text) <= n


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_nor_with_the_default_model(chat_model: Model, text: str) -> None:
    assert chat_model.tokens_at_least(text) <= len(chat_model.tokenize(text, add_special=False))


def test_it_is_a_bound_worth_having(chat_model: Model) -> None:
    assert chat_model.tokens_at_least("") == 0
    assert chat_model.tokens_at_least("a") == 1
    assert chat_model.tokens_at_least("a" * 4_000_000) > 10_000
    assert chat_model.tokens_at_least(" " * 3_900_000) > 10_000


def test_a_tokenizer_that_drops_blanks_or_knows_whole_words_has_none(llama_cpp: Path) -> None:
    with Model(llama_cpp / "models" / "ggml-vocab-bert-bge.gguf", vocab_only=True) as bert:
        assert bert.tokens_at_least("a" * 10_000) == 0


# --- Refusing by it ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prompts(chat_model: Model) -> Prompts:
    return Prompts(chat_model, ChatTemplate(chat_model), Limits(n_ctx=2048, n_running=1, n_waiting=1, n_batch=512))


@pytest.mark.parametrize("text", [" " * 3_900_000, "a" * 4_000_000, "word " * 800_000], ids=["blanks", "a", "words"])
def test_what_no_context_holds_is_refused_before_it_is_tokenized(
    prompts: Prompts, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tokenize(*_: object, **__: object) -> None:
        raise AssertionError("it was tokenized")

    monkeypatch.setattr(Model, "token_ids", tokenize)
    chat = ChatPrompt(b'[{"role":"user","content":"%s"}]' % text.encode())
    prompts_of_it: list[tuple[Prompt, str]] = [(TextPrompt(text), "prompt"), (chat, "messages")]
    for prompt, param in prompts_of_it:
        with pytest.raises(ContextLengthError, match=r"at least \d+ tokens; the context has 2048") as caught:
            prompts.read(prompt)
        assert caught.value.param == param


def test_what_length_does_not_tell_the_tokens_do(prompts: Prompts) -> None:
    with pytest.raises(ContextLengthError, match=r"the prompt has 5000 tokens; the context has 2048"):
        prompts.read(TextPrompt("word " * 4999 + "word"))
    assert len(prompts.read(TextPrompt("word " * 1000)).tokens) >= 1000


@given(st.integers(0, 3000), st.integers(0, 100), st.integers(0, 1500))
def test_the_room_of_an_answer(n_tokens: int, n_pinned: int, n_prompt: int) -> None:
    bound = PromptBound(2048, n_prompt)
    if 0 < n_prompt < n_tokens or n_tokens + n_pinned >= 2048:
        with pytest.raises(ContextLengthError) as caught:
            bound.check(n_tokens, "prompt", n_pinned=n_pinned)
        assert (caught.value.n_prompt, caught.value.n_ctx) == (n_tokens, 2048)
    else:
        assert bound.check(n_tokens, "prompt", n_pinned=n_pinned) == 2048 - n_pinned - n_tokens


def test_token_ids_are_integers_of_the_vocabulary(chat_model: Model) -> None:
    chat_model.check_tokens([0, np.int64(5)])
    for tokens in (5, ["a"], [1.5], [-1], [10**9]):
        with pytest.raises(InvalidRequestError) as caught:
            chat_model.check_tokens(tokens)  # type: ignore[arg-type]
        assert caught.value.param == "tokens"
