"""Listening sockets: bind, URL, loopback."""

from __future__ import annotations

import ipaddress
import os
import socket

from llmcore.errors import ConfigError

# Kernel buffer of unread response bytes, in addition to uvicorn's 64 KiB. Large enough for any stream; small enough that a
# client that stops reading is noticed before a long answer has ended.
SEND_BUFFER_BYTES = 128 * 2**10


def bind(host: str, port: int, *, option: str = "port") -> socket.socket:
    """Returns a socket bound to the address; port 0 takes a free one. Raises ConfigError naming `option` if the port cannot be
    used. Called before the model is loaded, so that a port in use is reported at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot listen on {host}: {reason}", param="host") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # accepted sockets inherit it
        sock.bind(address)
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}", param=option) from None
    return sock


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """Returns the URL of a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def is_loopback(sock: socket.socket) -> bool:
    """True if the socket is bound to a loopback address."""
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback
