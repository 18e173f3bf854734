"""HTTPS with a certificate made for the test, and files that cannot be used."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from llmcore.errors import ConfigError
from llmcore_app.config import ServerConfig
from llmcore_app.server.tls import check_certificate
from tests.app.routes.test_chat import HELLO, URL, events
from tests.app.test_serve import admin_url, failing, service

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
        assert client.get(admin_url(process.lines) + "/metrics").status_code == 200
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


@needs_openssl
def test_a_check_passes_a_pair_and_refuses_a_strangers_key(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other")[1]
    check_certificate(ServerConfig())
    check_certificate(ServerConfig(tls_cert=cert, tls_key=key))
    with pytest.raises(ConfigError, match="tls_cert, tls_key") as caught:
        check_certificate(ServerConfig(tls_cert=cert, tls_key=other))
    assert caught.value.param == "tls_cert"
