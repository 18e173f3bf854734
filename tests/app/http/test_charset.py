"""Character encodings of bodies."""

from __future__ import annotations

import json

import httpx
import pytest

from llmcore_app.http.charset import check_charset, strip_byte_order_mark
from llmcore_app.http.errors import ApiError
from tests.app.fake_engine import FakeEngine, prompt_text
from tests.app.routes.test_chat import URL

TEXT = json.dumps({"messages": [{"role": "user", "content": "Grüße 🌍"}]}, ensure_ascii=False)


async def test_a_byte_order_mark_of_utf_8_is_taken(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await client.post(URL, content=TEXT.encode("utf-8-sig"))
    assert response.status_code == 200
    assert prompt_text(engine.requests[0]) == "Grüße 🌍"
    assert (await client.post(URL, content=b"\xef\xbb\xbf")).json()["error"]["code"] == "empty_body"


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
async def test_other_encodings_are_named(client: httpx.AsyncClient, engine: FakeEngine, codec: str) -> None:
    for text in (TEXT, "{}", "1"):
        response = await client.post(URL, content=text.encode(codec))
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["code"] == "unsupported_charset"
        assert f"The body is {codec[:6].upper()}: send JSON as UTF-8." in error["message"]
    assert engine.requests == []


@pytest.mark.parametrize("charset", ["utf-16", "ISO-8859-1", '"utf-16le"', "'x'", "shift_jis"])
async def test_another_charset_of_the_content_type_is_refused(client: httpx.AsyncClient, charset: str) -> None:
    headers = {"content-type": f"application/json; Charset={charset}"}
    response = await client.post(URL, content=TEXT.encode(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported_charset")
    assert charset.strip("\"'") in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/json", "application/json; charset=utf-8", 'application/json;charset="UTF-8"', "text/plain"),
        *("application/x-www-form-urlencoded", "json", "", ";;", "application/json; charset=", "a/b; charset=US-ASCII"),
        "application/json; boundary=charset",
    ],
)
async def test_other_content_types_are_accepted(client: httpx.AsyncClient, content_type: str) -> None:
    response = await client.post(URL, content=TEXT.encode(), headers={"content-type": content_type})
    assert response.status_code == 200


def test_no_content_type_at_all_is_accepted() -> None:
    check_charset([(b"host", b"x; charset=utf-16")])


def test_bodies_of_ascii_and_of_nothing_are_kept() -> None:
    for body in (b"", b"{", b"{}", b" {}", b"\x00", b"\xff"):
        assert strip_byte_order_mark(body) == body
    with pytest.raises(ApiError):
        strip_byte_order_mark(b"{\x00")
