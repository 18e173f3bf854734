"""Server-sent events: the framing of any text."""

from __future__ import annotations

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcore_app.answers.chat_form import ChatForm
from llmcore_app.answers.sse import EventTemplate
from llmcore_app.answers.stream_encoding import SSE
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import URL, events


@given(st.text())
def test_any_text_is_one_event(text: str) -> None:
    form = ChatForm("id", "m", wants_usage=False)
    data = EventTemplate(SSE.encode(form.text_chunk(0, EventTemplate.GAP))).fill(text).decode()
    (chunk,) = events(data)
    assert data == SSE.encode(form.text_chunk(0, text)).decode()
    assert chunk["choices"][0]["delta"]["content"] == text
    assert "\n" not in data.removesuffix("\n\n")
    assert "\r" not in data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(words=st.lists(st.text(max_size=5), max_size=5))
async def test_the_pieces_make_the_text(client: httpx.AsyncClient, engine: FakeEngine, words: list[str]) -> None:
    engine.script = lambda request: words
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
    *chunks, _ = events((await client.post(URL, json=body)).text)
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "".join(words)
