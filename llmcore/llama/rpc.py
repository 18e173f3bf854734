"""Servers that compute a part of a model (llama.cpp's RPC backend): their addresses, and a check that they answer.

llama.cpp ends the process if it cannot connect to such a server, or if the server speaks another version of the protocol. So the
check shakes hands first, with a timeout. Messages are little-endian: a command (1 byte; 14 is hello), the size of its data (8
bytes), the data; a reply is a size and data. A hello has 24 bytes of connection capabilities (zeros: plain TCP); its reply has
the version (major, minor, patch, padding) and 24 bytes of capabilities.
"""

from __future__ import annotations

import re
import socket
import struct

from llmcore.errors import ConfigError, RpcError

# A server serves one client at a time. Others wait without a reply until that client disconnects.
TIMEOUT_S = 5.0

# llama.cpp reads the port after the first colon: no IPv6 addresses in brackets.
_ADDRESS = re.compile(r"[A-Za-z0-9._-]+:[1-9][0-9]{0,4}")
_N_SERVERS_MAX = 16  # GGML_RPC_MAX_SERVERS

_HELLO = 14
_N_CAPS = 24
_HELLO_MESSAGE = struct.pack("<BQ", _HELLO, _N_CAPS) + bytes(_N_CAPS)
_N_REPLY = 8 + 4 + _N_CAPS


def parse_servers(text: str) -> list[str]:
    """Returns the addresses in the option rpc_servers, "host:port,…". Raises ConfigError for an invalid or repeated one."""
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
    """Raises RpcError unless an RPC server answers at an address. `protocol` is the number from lc_rpc_protocol."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(_HELLO_MESSAGE)
            reply = _receive(connection, _N_REPLY)
    except TimeoutError:
        message = f"the RPC server {address} does not answer within {timeout_s:g} s: it serves one client at a time"
        raise RpcError(message, param="rpc_servers") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise RpcError(f"the RPC server {address} cannot be reached: {reason}", param="rpc_servers") from None
    size, major, minor = struct.unpack_from("<QBB", reply.ljust(_N_REPLY, b"\0"))
    if len(reply) < _N_REPLY or size != _N_REPLY - 8:
        raise RpcError(f"the server at {address} is no RPC server of llama.cpp", param="rpc_servers")
    if major != protocol >> 8 or minor > protocol & 0xFF:
        ours = f"{protocol >> 8}.{protocol & 0xFF}"
        message = f"the RPC server {address} speaks version {major}.{minor}, this build {ours}: use the same build on both sides"
        raise RpcError(message, param="rpc_servers")


def _receive(connection: socket.socket, n_bytes: int) -> bytes:
    """Returns n_bytes, or fewer if the other side closes the connection."""
    received = b""
    while len(received) < n_bytes:
        chunk = connection.recv(n_bytes - len(received))
        if not chunk:
            break
        received += chunk
    return received
