"""Web pages and a service without keys: pages of other origins are refused, and so are host names that are not its own."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore_app.application import create_admin_app, create_app, create_service
from llmcore_app.auth.keys import load_keys
from llmcore_app.config import ServerConfig
from llmcore_app.http.origin import Authority, Hosts, Origins, authority_of
from tests.app.auth.keyed_service import ANN, KEYS
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, URL
from tests.app.test_serve import service as process

HERE = "127.0.0.1:8001"


@contextlib.asynccontextmanager
async def open_to(
    engine: FakeEngine, *, is_local: bool = True, is_admin: bool = False, **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    config = ServerConfig(**options)
    service = create_service(engine, config, "fake", load_keys(config))
    app = (create_admin_app if is_admin else create_app)(service, is_local=is_local)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{HERE}") as client:
        yield client


def refusal(response: httpx.Response) -> str:
    """Returns the code of a 403, or "" if the request was served."""
    if response.status_code != 403:
        assert response.status_code < 400, response.text
        return ""
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert "x-request-id" in response.headers
    option = {"host_not_allowed": "--allowed-hosts", "origin_not_allowed": "--cors-origins"}[error["code"]]
    assert option in error["message"]
    return str(error["code"])


# --- Hosts ------------------------------------------------------------------------------------------------------------

OWN = [
    *("127.0.0.1:8001", "127.0.0.1", "localhost", "localhost:8001", "LocalHost:80", "localhost.", "localhost.:8001"),
    *("127.8.9.1:8001", "[::1]:8001", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]:8001", "bot.localhost:8001"),
    "127.0.0.1:",
]
FOREIGN = [
    *(
        "rebind.evil.example",
        "rebind.evil.example:8001",
        "localhost.evil.example",
        "evil-localhost",
        "x",
        "notlocalhost",
    ),
    *("127.0.0.1.evil.example", "127.0.0.1.nip.io:8001", "localhost:8001:evil.example", "localhost@evil.example", ""),
    *(
        "192.168.1.5:8001",
        "10.0.0.1",
        "0.0.0.0:8001",
        "[::]:8001",
        "[fe80::1]",
        "[::1",
        "::1",
        "evil.example#localhost",
    ),
    *(
        "localhost..",
        ".localhost.evil",
        "localhost/evil",
        "localhost evil",
        "evil.example?.localhost",
        "localhost:99999999",
    ),
]


@pytest.mark.parametrize("host", OWN)
async def test_loopback_names_are_answered(engine: FakeEngine, host: str) -> None:
    async with open_to(engine) as client:
        assert refusal(await client.post(URL, json=HELLO, headers={"host": host})) == ""


@pytest.mark.parametrize("host", FOREIGN)
async def test_others_are_not_on_loopback(engine: FakeEngine, host: str) -> None:
    async with open_to(engine, debug=True) as client:
        for method, path in (
            *(("POST", URL), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/debug/engine"), ("GET", "/docs")),
            *(("GET", "/healthz"), ("OPTIONS", URL), ("PUT", "/v1/prefixes/x"), ("GET", "/nothing")),
        ):
            response = await client.request(method, path, headers={"host": host})
            assert refusal(response) == "host_not_allowed"
    assert not engine.requests
    async with open_to(engine, is_admin=True, debug=True, admin_port=0) as admin:
        for path in ("/metrics", "/debug/engine", "/healthz"):
            assert refusal(await admin.get(path, headers={"host": host})) == "host_not_allowed"


@pytest.mark.parametrize("host", [each for each in FOREIGN if each])
async def test_elsewhere_any_host_is_answered(engine: FakeEngine, host: str) -> None:
    async with open_to(engine, is_local=False) as client:
        assert refusal(await client.post(URL, json=HELLO, headers={"host": host})) == ""


# --- Origins ----------------------------------------------------------------------------------------------------------

STRANGERS = [
    *("https://evil.example", "http://evil.example:8001", "null", "http://localhost:8001", "http://127.0.0.1:3000"),
    *("http://127.0.0.1", "http://127.0.0.1:8001.evil.example", "http://evil.example/127.0.0.1:8001", "file://", ""),
    *("chrome-extension://abc", "http://127.0.0.1:8001@evil.example", "127.0.0.1:8001", "http://127.0.0.2:8001"),
]


@pytest.mark.parametrize("origin", STRANGERS)
@pytest.mark.parametrize("is_local", [True, False])
async def test_pages_of_other_origins_are_refused(engine: FakeEngine, origin: str, is_local: bool) -> None:
    headers = {"origin": origin, "content-type": "text/plain"}
    async with open_to(engine, is_local=is_local) as client:
        response = await client.post(URL, json=HELLO, headers=headers)
        assert refusal(response) == "origin_not_allowed"
        assert "access-control-allow-origin" not in response.headers
        for method, path in (
            ("GET", "/metrics"),
            ("PUT", "/v1/prefixes/x"),
            ("DELETE", "/v1/requests/x"),
            ("OPTIONS", URL),
        ):
            assert refusal(await client.request(method, path, headers=headers)) == "origin_not_allowed"
    async with open_to(engine, is_local=is_local, is_admin=True, admin_port=0) as admin:
        assert refusal(await admin.get("/metrics", headers=headers)) == "origin_not_allowed"
    assert not engine.requests


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("LOCALHOST:8001", "http://localhost:8001"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("[::1]:8001", "http://[::1]:8001"),
    ],
)
async def test_its_own_pages_are_served(engine: FakeEngine, host: str, origin: str) -> None:
    async with open_to(engine) as client:
        assert refusal(await client.post(URL, json=HELLO, headers={"host": host, "origin": origin})) == ""


async def test_its_own_pages_are_served_behind_a_proxy_that_passes_the_host_on(engine: FakeEngine) -> None:
    choices: list[dict[str, Any]] = [{"is_local": False}, {"allowed_hosts": "llm.example"}]
    for options in choices:
        async with open_to(engine, **options) as client:
            for host, origin in (
                ("llm.example:8443", "https://llm.example:8443"),
                ("llm.example", "https://llm.example"),
            ):
                assert refusal(await client.post(URL, json=HELLO, headers={"host": host, "origin": origin})) == ""
            wrong = {"host": "llm.example:8443", "origin": "https://llm.example"}
            assert refusal(await client.post(URL, json=HELLO, headers=wrong)) == "origin_not_allowed"


async def test_allowed_origins(engine: FakeEngine) -> None:
    async with open_to(engine, cors_origins="https://a.example, http://localhost:3000") as client:
        for origin in ("https://a.example", "http://localhost:3000"):
            response = await client.post(URL, json=HELLO, headers={"origin": origin})
            assert refusal(response) == ""
            assert response.headers["access-control-allow-origin"] == origin
            asks = {"origin": origin, "access-control-request-method": "POST"}
            assert refusal(await client.options(URL, headers=asks)) == ""
        for origin in ("http://a.example", "https://a.example:8443", "https://b.a.example", "null"):
            assert refusal(await client.post(URL, json=HELLO, headers={"origin": origin})) == "origin_not_allowed"
        rebound = {"origin": "https://a.example", "host": "rebind.evil.example"}
        assert refusal(await client.post(URL, json=HELLO, headers=rebound)) == "host_not_allowed"
    async with open_to(engine, cors_origins="*") as client:
        for headers in ({"origin": "https://x.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            assert refusal(await client.post(URL, json=HELLO, headers=headers)) == ""


async def test_one_of_two_origins_is_not_enough(engine: FakeEngine) -> None:
    async with open_to(engine) as client:
        headers = [("origin", f"http://{HERE}"), ("origin", "https://evil.example")]
        assert refusal(await client.post(URL, json=HELLO, headers=headers)) == "origin_not_allowed"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site"])
@pytest.mark.parametrize("dest", ["image", "script", "iframe", "empty", "embed", "style"])
async def test_parts_of_other_pages_are_refused(engine: FakeEngine, site: str, dest: str) -> None:
    mode = "navigate" if dest == "iframe" else "no-cors"
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    async with open_to(engine) as client:
        for path in ("/v1/models", "/metrics", "/docs"):
            assert refusal(await client.get(path, headers=headers)) == "origin_not_allowed"


async def test_a_link_opens_a_page_but_a_form_sends_nothing(engine: FakeEngine) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    async with open_to(engine) as client:
        assert refusal(await client.get("/docs", headers=headers)) == ""
        assert refusal(await client.post(URL, json=HELLO, headers=headers)) == "origin_not_allowed"
        for site in ("same-origin", "none"):
            assert refusal(await client.get("/docs", headers={**headers, "sec-fetch-site": site})) == ""


async def test_with_keys_pages_are_left_to_cors(engine: FakeEngine) -> None:
    headers = ANN | {"origin": "https://evil.example", "host": "llm.example"}
    async with open_to(engine, api_keys=KEYS) as client:
        response = await client.post(URL, json=HELLO, headers=headers)
        assert response.status_code == 200
        assert "access-control-allow-origin" not in response.headers
        headers.pop("authorization")
        assert (await client.post(URL, json=HELLO, headers=headers)).status_code == 401
    # The admin listener needs no key, unless keys_everywhere is on.
    for everywhere, status in ((False, 403), (True, 200)):
        options: dict[str, Any] = {"api_keys": KEYS, "keys_everywhere": everywhere, "admin_port": 0}
        async with open_to(engine, is_admin=True, **options) as admin:
            assert (await admin.get("/metrics", headers=ANN | headers)).status_code == status


@given(st.text(max_size=40))
def test_no_text_is_taken_for_a_name_of_its_own(text: str) -> None:
    hosts, own = Hosts([], is_local=True), Authority("127.0.0.1", 8001)
    authority = authority_of(text)
    if authority is not None and hosts.has(authority):
        name = text.lower().rpartition(":")[0] if ":" in text and not text.endswith("]") else text.lower()
        assert name.strip("[].").endswith("localhost") or authority.is_loopback
    assert not Origins([]).has(text, own)


# --- The real service -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local() -> Iterator[int]:
    """Port of a service on loopback."""
    with process() as running:
        yield int(running.url.rpartition(":")[2])


def ask(port: int, request: str) -> int:
    """Returns the status of the reply to a raw request."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        return int(connection.makefile("rb").readline().split()[1])


BODY = '{"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}'
POST = f"POST {URL} HTTP/1.1\nConnection: close\nContent-Length: {len(BODY)}\nContent-Type: text/plain\n"


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (f"{POST}Host: 127.0.0.1\n\n{BODY}", 200),
        (f"{POST}Host: localhost:8001\nUser-Agent: curl/8\n\n{BODY}", 200),
        (f"{POST}Host: 127.0.0.1\nOrigin: https://evil.example\n\n{BODY}", 403),
        (f"{POST}Host: rebind.evil.example\n\n{BODY}", 403),
        (f"{POST}Host: rebind.evil.example:1\nOrigin: http://rebind.evil.example:1\n\n{BODY}", 403),
        ("GET /metrics HTTP/1.1\nConnection: close\nHost: rebind.evil.example\n\n", 403),
        ("GET http://rebind.evil.example/metrics HTTP/1.1\nConnection: close\nHost: rebind.evil.example\n\n", 403),
        ("GET /healthz HTTP/1.0\n\n", 200),
        (
            "GET /v1/models HTTP/1.1\nHost: 127.0.0.1\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\nOrigin: https://evil.example\n\n",
            403,
        ),
    ],
)
def test_the_service_on_loopback(local: int, request_text: str, status: int) -> None:
    assert ask(local, request_text) == status


def test_the_service_elsewhere_answers_to_any_name_but_not_to_foreign_pages() -> None:
    with process("--host", "0.0.0.0") as running:
        port = int(running.url.rpartition(":")[2])
        assert ask(port, f"{POST}Host: llm.example\n\n{BODY}") == 200
        assert ask(port, f"{POST}Host: llm.example\nOrigin: https://llm.example\n\n{BODY}") == 200
        assert ask(port, f"{POST}Host: llm.example\nOrigin: https://evil.example\n\n{BODY}") == 403


def test_the_admin_listener_of_the_service() -> None:
    with process("--admin-port", "0") as running:
        line = next(line for line in running.lines if "admin listener" in line)
        port = int(line.rpartition(":")[2])
        head = "GET /metrics HTTP/1.1\nConnection: close\n"
        assert ask(port, f"{head}Host: 127.0.0.1:{port}\n\n") == 200
        assert ask(port, f"{head}Host: rebind.evil.example\n\n") == 403
        assert ask(port, f"{head}Host: 127.0.0.1:{port}\nOrigin: https://evil.example\n\n") == 403
