"""Listening sockets."""

from __future__ import annotations

import socket

import pytest

from llmcore.errors import ConfigError
from llmcore_app.server.sockets import SEND_BUFFER_BYTES, bind, is_loopback, url_of


def test_a_free_port_is_bound_with_its_buffer() -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert url_of(sock) == f"http://127.0.0.1:{port}"
        assert url_of(sock, "https") == f"https://127.0.0.1:{port}"
        assert is_loopback(sock)
        # Linux reserves twice what was asked for.
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in (SEND_BUFFER_BYTES, 2 * SEND_BUFFER_BYTES)
    with bind("0.0.0.0", 0) as sock:
        assert not is_loopback(sock)


def test_an_address_of_ipv6_has_brackets() -> None:
    try:
        sock = bind("::1", 0)
    except ConfigError:
        pytest.skip("no IPv6 here")
    with sock:
        assert url_of(sock).startswith("http://[::1]:")
        assert is_loopback(sock)


def test_a_port_in_use_is_refused_by_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: Address already in use") as caught:
            bind("127.0.0.1", port, option="admin_port")
    assert caught.value.param == "admin_port"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 70 + ".example", "192.0.2.1.5"])
def test_a_host_that_does_not_exist_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen on") as caught:
        bind(host, 0)
    assert caught.value.param == "host"
