"""Check of the TLS certificate and key before the model is loaded."""

from __future__ import annotations

import os
import ssl
from typing import NoReturn

from llmcore.errors import ConfigError

from ..config import ServerConfig


def check_certificate(config: ServerConfig) -> None:
    """Raises ConfigError if the files are unreadable, are not a certificate and a key, or do not match."""
    if not config.tls_cert:
        return
    for name in ("tls_cert", "tls_key"):
        _check_readable(name, getattr(config, name))
    try:
        # Without a callback OpenSSL asks for a password on the terminal and waits.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.tls_cert, config.tls_key or None, _no_password)
    except OSError as error:  # includes ssl.SSLError
        reason = getattr(error, "reason", None) or error.strerror
        files = " and ".join(filter(None, (config.tls_cert, config.tls_key)))
        problem = f"tls_cert, tls_key: {files}: {reason or 'not a PEM certificate and its private key'}"
        raise ConfigError(problem, param="tls_cert") from None


def _check_readable(name: str, path: str) -> None:
    try:
        if path:
            os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        raise ConfigError(f"cannot read {name} {path}: {error.strerror}", param=name) from None


def _no_password() -> NoReturn:
    raise ConfigError("tls_key is encrypted: give a key without a password", param="tls_key")
