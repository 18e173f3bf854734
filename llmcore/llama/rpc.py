"""Servers that compute a part of a model (llama.cpp's RPC backend): their addresses, and whether they answer.

llama.cpp ends the process where it cannot connect to such a server, and where the server speaks another version of the
protocol. So we shake hands first, with a deadline. The messages, little-endian: a byte for the command (14 is hello), the size
of its data (8 bytes), the data; the answer is a size and data. A hello carries 24 bytes about the connection (zeros: plain
TCP); its answer has the version (major, minor, patch, padding) and 24 bytes of the same kind.
"""

from __future__ import annotations

import re
import socket
import struct

from llmcore.errors import ConfigError, RpcError

# A server has one client at a time; another one waits, without a word, until that has gone.
TIMEOUT_S = 5.0

# The port is read by llama.cpp behind the first colon: no IPv6 addresses in brackets.
_ADDRESS = re.compile(r"[A-Za-z0-9._-]+:[1-9][0-9]{0,4}")
_N_SERVERS_MAX = 16  # GGML_RPC_MAX_SERVERS

_HELLO = 14
_N_CAPS = 24
_QUESTION = struct.pack("<BQ", _HELLO, _N_CAPS) + bytes(_N_CAPS)
_N_ANSWER = 8 + 4 + _N_CAPS


def parse_servers(text: str) -> list[str]:
    """The addresses of the option rpc_servers, "host:port,…". Raises ConfigError for one that is none, or is named twice."""
    servers = [each.strip() for each in text.split(",") if each.strip()]
    for each in servers:
        if not _ADDRESS.fullmatch(each) or int(each.rpartition(":")[2]) > 65535:
            raise ConfigError(f"rpc_servers must be addresses like 10.0.0.7:50052, got {each!r}", param="rpc_servers")
    if len(set(servers)) < len(servers):
        raise ConfigError("rpc_servers names a server twice", param="rpc_servers")
    if len(servers) > _N_SERVERS_MAX:
        raise ConfigError(f"rpc_servers has {len(servers)} servers: at most {_N_SERVERS_MAX}", param="rpc_servers")
    return servers


def check_server(address: str, protocol: int, timeout_s: float = TIMEOUT_S) -> None:
    """Raises RpcError unless a server of this protocol (lc_rpc_protocol's number) answers there."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(_QUESTION)
            answer = _receive(connection, _N_ANSWER)
    except TimeoutError:
        message = f"the RPC server {address} does not answer within {timeout_s:g} s: it serves one client at a time"
        raise RpcError(message, param="rpc_servers") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise RpcError(f"the RPC server {address} cannot be reached: {reason}", param="rpc_servers") from None
    size, major, minor = struct.unpack_from("<QBB", answer.ljust(_N_ANSWER, b"\0"))
    if len(answer) < _N_ANSWER or size != _N_ANSWER - 8:
        raise RpcError(f"what listens at {address} is no RPC server of llama.cpp", param="rpc_servers")
    if major != protocol >> 8 or minor > protocol & 0xFF:
        ours = f"{protocol >> 8}.{protocol & 0xFF}"
        message = f"the RPC server {address} speaks version {major}.{minor}, this build {ours}: use the same build on both sides"
        raise RpcError(message, param="rpc_servers")


def _receive(connection: socket.socket, n_bytes: int) -> bytes:
    """So many bytes, or fewer where the other side ends."""
    received = b""
    while len(received) < n_bytes:
        chunk = connection.recv(n_bytes - len(received))
        if not chunk:
            break
        received += chunk
    return received
