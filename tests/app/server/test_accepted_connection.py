"""An accepted connection, over a socket pair."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from llmcore_app.server.accepted_connection import AcceptedConnection


@dataclass
class Http:
    is_answering: bool = False
    has_answered: bool = False
    n_aborts: int = 0

    def abort(self) -> None:
        self.n_aborts += 1


@dataclass
class Pair:
    connection: AcceptedConnection
    client: socket.socket
    released: list[AcceptedConnection]

    def is_idle(self) -> bool:
        return self.connection.is_idle


@pytest.fixture
def pair() -> Iterator[Pair]:
    server, client = socket.socketpair()
    server.setblocking(False)
    released: list[AcceptedConnection] = []
    with server, client:
        yield Pair(AcceptedConnection(server, ("127.0.0.1", 1), released.append, is_spare=True), client, released)


def test_a_silent_connection_is_idle_until_a_byte_arrives(pair: Pair) -> None:
    assert pair.is_idle()
    pair.client.sendall(b"G")
    assert not pair.is_idle()
    assert pair.connection.sock.recv(10) == b"G", "looking takes nothing"


def test_an_established_connection_is_idle_unless_it_answers(pair: Pair) -> None:
    pair.connection.protocol = http = Http()
    assert pair.is_idle()
    http.is_answering = True
    assert not pair.is_idle()
    http.is_answering, http.has_answered = False, True
    pair.client.sendall(b"GET")  # a second request on a spare connection
    assert pair.is_idle()


def test_before_it_is_established_an_abort_shuts_the_socket_down(pair: Pair) -> None:
    pair.connection.abort()
    assert pair.client.recv(1) == b""
    assert pair.connection.is_aborted
    assert not pair.is_idle()
    pair.connection.abort()


def test_once_it_is_established_an_abort_is_its_protocols(pair: Pair) -> None:
    pair.connection.protocol = http = Http()
    pair.connection.abort()
    assert http.n_aborts == 1
    assert pair.released == []


def test_a_release_is_reported(pair: Pair) -> None:
    pair.connection.release()
    assert pair.released == [pair.connection]


def test_a_closed_socket_is_not_idle(pair: Pair) -> None:
    pair.connection.sock.close()
    assert not pair.is_idle()
