"""The option --allowed-hosts: names that a service without keys answers to."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.errors import ConfigError
from llmcore_app.config import ServerConfig
from tests.app.auth.keyed_service import ANN, KEYS
from tests.app.fake_engine import FakeEngine
from tests.app.http.test_origin import open_to, refusal


@pytest.mark.parametrize(
    ("allowed", "answered", "refused"),
    [
        ("llm.example", ["llm.example", "LLM.example:8443", "llm.example."], ["a.llm.example", "llm.example.evil"]),
        (
            "*.llm.example, b.example",
            ["a.llm.example:1", "b.example", "a.b.llm.example"],
            ["llm.example", "xllm.example"],
        ),
        ("192.168.1.5, [fd00::1]", ["192.168.1.5:8001", "[fd00::1]"], ["192.168.1.6", "x.example"]),
        ("*", ["x", "rebind.evil.example:8001"], []),
    ],
)
async def test_allowed_hosts(engine: FakeEngine, allowed: str, answered: list[str], refused: list[str]) -> None:
    async with open_to(engine, allowed_hosts=allowed) as client:
        for host in (*answered, "localhost:8001", "127.0.0.1"):
            assert refusal(await client.get("/v1/models", headers={"host": host})) == ""
        for host in refused:
            assert refusal(await client.get("/v1/models", headers={"host": host})) == "host_not_allowed"


async def test_allowed_hosts_count_elsewhere_too_but_addresses_are_no_names(engine: FakeEngine) -> None:
    """A probe uses the pod's address."""
    choices: list[dict[str, Any]] = [{}, {"api_keys": KEYS}]
    for options in choices:
        async with open_to(engine, is_local=False, allowed_hosts="llm.example", **options) as client:
            for host, code in (("llm.example", ""), ("10.1.2.3:8001", ""), ("evil.example", "host_not_allowed")):
                assert refusal(await client.get("/v1/models", headers=ANN | {"host": host})) == code


async def test_the_name_that_it_listens_on_is_its_own(engine: FakeEngine) -> None:
    async with open_to(engine, host="box.lan") as client:
        assert refusal(await client.get("/v1/models", headers={"host": "box.lan:8001"})) == ""
        assert refusal(await client.get("/v1/models", headers={"host": "box.lan.evil"})) == "host_not_allowed"


@pytest.mark.parametrize("allowed", ["llm.example:8443", "https://llm.example", "a b", "*x", "a.*", "llm.example/x"])
def test_allowed_hosts_are_names(allowed: str) -> None:
    with pytest.raises(ConfigError, match="allowed_hosts") as caught:
        ServerConfig(allowed_hosts=allowed)
    assert caught.value.param == "allowed_hosts"
