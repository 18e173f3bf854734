"""Loading of API keys, and finding one."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import httpx
import msgspec
import pytest

from llmcore.errors import ConfigError
from llmcore_app.auth.key_command import generate_key
from llmcore_app.auth.keys import Keys, load_keys
from llmcore_app.auth.rate_limit import RateLimits
from llmcore_app.config import ServerConfig
from tests.app.routes.test_chat import HELLO, URL
from tests.app.test_serve import service

HASH = hashlib.sha256(b"one").hexdigest()


def keys_of(config: ServerConfig) -> Keys:
    keys = load_keys(config, lambda: 0.0)
    assert keys is not None
    return keys


def write(folder: Path, *lines: str) -> str:
    path = folder / "keys"
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


def test_without_keys_there_are_none() -> None:
    assert load_keys(ServerConfig()) is None


def test_file_and_option_together(tmp_path: Path) -> None:
    two = hashlib.sha256(b"two").hexdigest()
    path = write(tmp_path, "# ours", "", f'{{"name": "a", "sha256": "{HASH}"}}')
    keys = keys_of(ServerConfig(api_keys_file=path, api_keys=f" b:{two.upper()} ,"))
    assert keys.names == ["a", "b"]
    assert [found.name for found in (keys.find(b"one"), keys.find(b"two")) if found] == ["a", "b"]


def test_limits_of_the_line_win_over_the_options(tmp_path: Path) -> None:
    lines = (
        f'{{"name": "a", "sha256": "{HASH}", "requests_per_minute": 5, "concurrent": 0}}',
        f'{{"name": "b", "sha256": "{"0" * 64}"}}',
    )
    config = ServerConfig(
        api_keys_file=write(tmp_path, *lines), key_requests_per_minute=7, key_tokens_per_minute=8, key_concurrent=9
    )
    found = keys_of(config).find(b"one")
    assert found is not None
    assert found.meter.limits == RateLimits(5, 8, 0)


def test_all_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return real(a, b)

    keys = keys_of(ServerConfig(api_keys=f"a:{HASH},b:{'0' * 64},c:{'1' * 64}"))
    monkeypatch.setattr("llmcore_app.auth.keys.hmac.compare_digest", compare)
    assert keys.find(b"one") is not None
    assert len(compared) == 3  # also those after the match


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["sk-my-secret"], "line 1"),
        ([f'{{"name": "a", "sha256": "{HASH}"}}', '{"name": "b", "sha256": "sk-my-secret"}'], "line 2"),
        ([f'{{"name": "a b", "sha256": "{HASH}"}}'], "$.name"),
        ([f'{{"name": "a", "sha256": "{HASH}", "rate": 1}}'], "rate"),
        ([f'{{"name": "a", "sha256": "{HASH}", "concurrent": -1}}'], "$.concurrent"),
        ([f'{{"name": "a", "sha256": "{HASH}"}}', f'{{"name": "a", "sha256": "{"0" * 64}"}}'], "of the name a"),
        ([f'{{"name": "a", "sha256": "{HASH}"}}', f'{{"name": "b", "sha256": "{HASH}"}}'], "are the same: b"),
        (["# nobody"], "there is no key"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_shows_nothing(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_keys(ServerConfig(api_keys_file=write(tmp_path, *lines)))
    assert said in caught.value.message
    assert "secret" not in caught.value.message
    assert HASH not in caught.value.message


@pytest.mark.parametrize("text", ["sk-my-secret", "a:sk-my-secret", f"a b:{HASH}", f":{HASH}"])
def test_an_option_that_is_wrong(text: str) -> None:
    with pytest.raises(ConfigError, match="entry 1") as caught:
        load_keys(ServerConfig(api_keys=text))
    assert "secret" not in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read api_keys_file .*No such file"):
        load_keys(ServerConfig(api_keys_file=str(tmp_path / "none")))


def test_a_file_of_keys(tmp_path: Path) -> None:
    key, line = generate_key("bot")
    path = tmp_path / "keys"
    path.write_bytes(msgspec.json.encode(line) + b"\n")
    with service("--host", "0.0.0.0", "--api-keys-file", str(path)) as process:
        assert not [line for line in process.lines if "WARNING" in line]
        url = process.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.post(url + URL, json=HELLO).status_code == 401
        # More bytes than the server reads ahead: a request without a key is answered before its body has arrived.
        assert httpx.post(url + URL, content=b"x" * 3_000_000).status_code == 401
        assert httpx.post(url + URL, json=HELLO, headers={"authorization": f"Bearer {key}"}).status_code == 200
        process.popen.terminate()
        log = "".join(process.lines) + process.stderr.read()
        assert process.popen.wait(30) == 0
    assert 'key="bot"' in log
    assert key not in log
    assert line.sha256 not in log
