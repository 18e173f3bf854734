"""The doors of a service as a process: TLS, the admin listener, keys from a file, and what it warns of."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from llmcore_app.auth.key_command import generate_key
from tests.app.routes.test_chat import HELLO, URL, events
from tests.app.test_serve import failing, service

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def certificate(folder: Path, *more: str) -> tuple[str, str]:
    """(certificate, key) for the loopback address, made for this test."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"),
            *("-subj", "/CN=llmcore", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert),
            *(more or ("-nodes",)),
        ],
        check=True,
        capture_output=True,
    )
    return str(cert), str(key)


@needs_openssl
def test_https(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=cert)
    flags = ("--tls-cert", cert, "--tls-key", key, "--admin-port", "0")
    with service(*flags) as process, httpx.Client(verify=trusting) as client:
        assert process.url.startswith("https://")
        assert client.post(process.url + URL, json=HELLO).status_code == 200
        with client.stream("POST", process.url + URL, json={**HELLO, "stream": True}) as response:
            assert events(response.read().decode())[-1] == "[DONE]"
        assert client.get(_admin(process.lines) + "/metrics").status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(process.url + "/healthz")
        with pytest.raises(httpx.TransportError):
            httpx.get(process.url.replace("https:", "http:") + "/healthz")


@needs_openssl
def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other", "-passout", "pass:secret")[1]
    for flags, said in (
        (("--tls-cert", cert + "x", "--tls-key", key), "cannot read tls_cert .*No such file"),
        (("--tls-cert", cert, "--tls-key", str(tmp_path)), "tls_cert, tls_key: .*directory"),
        (("--tls-key", key), "tls_key needs tls_cert"),
        (("--tls-cert", cert), "tls_cert, tls_key: "),
        (("--tls-cert", key, "--tls-key", key), "tls_cert, tls_key: "),
        (("--tls-cert", cert, "--tls-key", other), "tls_key is encrypted"),
    ):
        shown = failing(*flags)
        assert len(shown.splitlines()) == 1
        assert re.search(said, shown)


def _admin(lines: list[str]) -> str:
    (url,) = [line.removeprefix("admin listener on ").strip() for line in lines if line.startswith("admin listener")]
    return url


def test_the_admin_listener(tmp_path: Path) -> None:
    with service("--admin-port", "0", "--debug", "on") as process:
        admin = _admin(process.lines)
        assert admin.startswith("http://127.0.0.1:")
        assert httpx.get(process.url + "/metrics").status_code == 404
        assert httpx.get(process.url + "/debug/engine").status_code == 404
        assert "llm_service_requests_total" in httpx.get(admin + "/metrics").text
        assert httpx.get(admin + "/debug/engine").json() == {"slots": []}
        assert httpx.get(admin + "/healthz").status_code == 200
        assert httpx.post(admin + URL, json=HELLO).status_code == 404
        process.popen.terminate()
        assert process.popen.wait(30) == 0


def test_an_admin_port_in_use() -> None:
    with service() as process:
        assert "Address already in use" in failing("--admin-port", process.url.rsplit(":", 1)[1])


def test_a_file_of_keys(tmp_path: Path) -> None:
    key, line = generate_key("bot")
    path = tmp_path / "keys"
    path.write_bytes(msgspec.json.encode(line) + b"\n")
    with service("--host", "0.0.0.0", "--api-keys-file", str(path)) as process:
        assert not [line for line in process.lines if "WARNING" in line]
        url = process.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.post(url + URL, json=HELLO).status_code == 401
        # More than fits into what a server reads ahead: whoever has no key is answered before it has come.
        assert httpx.post(url + URL, content=b"x" * 3_000_000).status_code == 401
        assert httpx.post(url + URL, json=HELLO, headers={"authorization": f"Bearer {key}"}).status_code == 200
        process.popen.terminate()
        log = "".join(process.lines) + process.stderr.read()
        assert process.popen.wait(30) == 0
    assert 'key="bot"' in log
    assert key not in log
    assert line.sha256 not in log


def test_an_open_admin_listener_is_told() -> None:
    with service("--admin-port", "0", "--admin-host", "0.0.0.0") as process:
        assert len([line for line in process.lines if line.startswith("WARNING")]) == 1


def test_the_command_makes_a_key_once() -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llmcore.commands.cli", "key", *args], capture_output=True, text=True, check=False
        )

    shown = run("bot").stdout
    key = re.search(r"sk-llmcore-\S{43}", shown)
    assert key is not None
    assert '{"name":"bot","sha256":"' in shown
    refused = run("a b")
    assert refused.returncode == 1
    assert refused.stderr.startswith("llmcore: a key's name")
