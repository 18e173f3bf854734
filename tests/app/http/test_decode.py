"""No body of a client makes a server error."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcore_app.schemas.chat_request import ChatRequest
from llmcore_app.schemas.completion_request import CompletionRequest
from llmcore_app.schemas.prefix_request import PrefixRequest

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
PARTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}))
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["user", "system", "assistant", "developer", "tool"]) | VALUES,
            "content": st.text()
            | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}))
            | VALUES,
            "name": VALUES,
        },
    ),
    max_size=3,
)


def bodies(kind: type[msgspec.Struct], **better: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(kind.__struct_fields__, VALUES)
    fields |= better
    required = {name: fields.pop(name) for name in better}
    few = st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)
    return few.flatmap(lambda names: st.fixed_dictionaries({**required, **{name: fields[name] for name in names}}))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    body=bodies(ChatRequest, messages=MESSAGES | VALUES)
    | bodies(CompletionRequest, prompt=st.text() | st.lists(st.integers(0, 9)) | VALUES)
    | VALUES
)
async def test_no_json_makes_a_server_error(client: httpx.AsyncClient, path: str, body: Any) -> None:
    await check(client, path, msgspec.json.encode(body))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(body=st.binary())
async def test_no_bytes_make_a_server_error(client: httpx.AsyncClient, body: bytes) -> None:
    await check(client, "/v1/chat/completions", body)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(body=bodies(PrefixRequest) | bodies(PrefixRequest, messages=MESSAGES | VALUES) | VALUES)
async def test_no_json_makes_a_server_error_of_a_prefix(client: httpx.AsyncClient, body: Any) -> None:
    await check(client, "/v1/prefixes/x", msgspec.json.encode(body), "PUT")


async def check(client: httpx.AsyncClient, path: str, body: bytes, method: str = "POST") -> None:
    response = await client.request(method, path, content=body)
    assert response.status_code in (200, 400, 404, 413), response.text
    if response.status_code != 200:
        error = response.json()["error"]
        assert error["message"]
        assert error["code"]
        assert error["type"] == "invalid_request_error"
