"""Addresses of RPC servers, and the handshake that comes before llama.cpp's own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import ConfigError, RpcError
from llmcore.llama.ffi.library import load_library
from llmcore.llama.model import Model
from llmcore.llama.rpc import check_server, parse_servers

PROTOCOL = 7 * 256 + 1


@contextlib.contextmanager
def server(answer: bytes | None) -> Iterator[str]:
    """Answers one client, and closes the connection; None: reads on without a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                question = connection.recv(64)
                assert struct.unpack_from("<BQ", question) == (14, 24)
                if answer is None:
                    connection.recv(64)  # until the client has enough
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


def hello(major: int, minor: int) -> bytes:
    return struct.pack("<QBBBB", 28, major, minor, 0, 0) + bytes(24)


def test_addresses() -> None:
    assert parse_servers("") == []
    assert parse_servers("10.0.0.7:50052, node-b.local:1") == ["10.0.0.7:50052", "node-b.local:1"]


@pytest.mark.parametrize("text", ["host", "host:", "host:0", "host:65536", ":1", "[::1]:1", "a b:1", "a:1,a:1", "a:1x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_servers(text)
    assert caught.value.param == "rpc_servers"


def test_too_many_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 16"):
        parse_servers(",".join(f"a:{port}" for port in range(1, 18)))


@given(st.text(max_size=40))
def test_any_text_is_addresses_or_an_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert all(":" in each for each in parse_servers(text))


@pytest.mark.parametrize("minor", [0, 1])
def test_a_server_of_this_protocol_is_fine(minor: int) -> None:
    with server(hello(7, minor)) as address:
        check_server(address, PROTOCOL)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (hello(6, 0), "speaks version 6.0, this build 7.1"),
        (hello(7, 2), "speaks version 7.2, this build 7.1"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no RPC server"),
        (b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", "is no RPC server"),
        (b"", "is no RPC server"),
    ],
)
def test_others_are_told_by_name(answer: bytes, message: str) -> None:
    with server(answer) as address, pytest.raises(RpcError, match=message):
        check_server(address, PROTOCOL)


def test_one_that_serves_somebody_else_is_not_waited_for_for_ever() -> None:
    with server(None) as address, pytest.raises(RpcError, match="one client at a time"):
        check_server(address, PROTOCOL, timeout_s=0.1)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(RpcError, match="cannot be reached"):
        check_server(f"127.0.0.1:{port}", PROTOCOL)


def test_a_build_without_it_says_so(tiny_model: Path) -> None:
    if load_library().lc_rpc_protocol():
        pytest.skip("this build has the RPC backend")
    with pytest.raises(ConfigError, match="LLMCORE_RPC"):
        Model(tiny_model, rpc_servers="127.0.0.1:50052")
