"""Fingerprints of prompts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore_app.cluster.prompt_fingerprint import BLOCK_BYTES, PromptFingerprint, fingerprint_prompt

CHAT = "/v1/chat/completions"
texts = st.text(max_size=600)
messages = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": texts}), max_size=5)


def of(path: str = CHAT, **fields: Any) -> PromptFingerprint:
    return fingerprint_prompt(path, json.dumps(fields).encode())


@given(messages, messages)
def test_a_longer_conversation_keeps_all_its_prefixes(first: list[Any], more: list[Any]) -> None:
    before, after = of(messages=first), of(messages=first + more)
    assert after.prefixes[: len(before.prefixes)] == before.prefixes


@given(messages, messages)
def test_a_common_digest_means_a_common_prefix(one: list[Any], other: list[Any]) -> None:
    a, b = of(messages=one), of(messages=other)
    common = {digest for digest, _ in a.prefixes} & {digest for digest, _ in b.prefixes}
    if common:
        n = max(n for digest, n in a.prefixes if digest in common)
        encoded = [
            "".join(json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in x) for x in (one, other)
        ]
        assert encoded[0].encode()[:n] == encoded[1].encode()[:n]


@given(
    st.binary(max_size=300),
    st.sampled_from([CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"]),
)
def test_any_body_has_a_fingerprint(body: bytes, path: str) -> None:
    fingerprint_prompt(path, body)


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=6,
)


@given(json_values)
def test_so_has_any_json_in_the_places_of_prompts(value: Any) -> None:
    for path, name in (
        (CHAT, "messages"),
        ("/v1/completions", "prompt"),
        ("/v1/responses", "input"),
        ("/v1/messages", "system"),
    ):
        fingerprint = of(path, **{name: value})
        sizes = [n for _, n in fingerprint.prefixes]
        assert sizes == sorted(set(sizes))


def test_the_key_is_the_prefix_up_to_the_first_user_message() -> None:
    system, hello = {"role": "system", "content": "s"}, {"role": "user", "content": "hello"}
    first = of(messages=[system, hello])
    later = of(messages=[system, hello, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "bye"}])
    other = of(messages=[system, {"role": "user", "content": "hullo"}])
    assert first.conversation_key == later.conversation_key != other.conversation_key


def test_tools_come_before_messages() -> None:
    plain, other = (
        of(messages=[{"role": "user", "content": "a"}]),
        of(messages=[{"role": "user", "content": "a"}], tools=[{}]),
    )
    assert {digest for digest, _ in plain.prefixes}.isdisjoint(digest for digest, _ in other.prefixes)


def test_long_texts_have_a_digest_for_each_block() -> None:
    text = "x" * (3 * BLOCK_BYTES + 1)
    assert [n for _, n in of("/v1/completions", prompt=text).prefixes] == [256, 512, 768, 769]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/tokenize", "/metrics"])
def test_without_a_prompt_there_are_no_digests(path: str) -> None:
    assert of(path, input="text").prefixes == ()


def test_token_ids_and_the_first_of_several_prompts() -> None:
    assert of("/v1/completions", prompt=[1, 2, 3]).prefixes
    assert of("/v1/completions", prompt=["a", "b"]).prefixes == of("/v1/completions", prompt="a").prefixes


def test_ollamas_paths() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert of("/api/chat", messages=messages) == of("/v1/chat/completions", messages=messages)
    brief, long = (
        of("/api/generate", system="Be brief.", prompt="a"),
        of("/api/generate", system="Be long.", prompt="a"),
    )
    assert len(brief.prefixes) == 2
    assert set(brief.prefixes).isdisjoint(long.prefixes)
