"""API keys: names, SHA-256 hashes and rate limits. The service never stores a key itself."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from llmcore.errors import ConfigError

from ..config import ServerConfig
from .rate_limit import Meter, RateLimits

# A name is the value of a metric label and is logged without quoting.
NAME_PATTERN = r"[A-Za-z0-9._-]{1,64}"

_Limit = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class KeyLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of the file of keys. A limit given here overrides the option of the same meaning; 0 is no limit."""

    name: Annotated[str, Meta(pattern=f"^{NAME_PATTERN}$")]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    requests_per_minute: _Limit | None = None
    tokens_per_minute: _Limit | None = None
    concurrent: _Limit | None = None
    pin: bool = True  # True if the key may pin and unpin prefixes


@dataclass(frozen=True)
class ApiKey:
    """A configured key and the meter of its usage. `digest` is the key's SHA-256, 32 bytes."""

    name: str
    digest: bytes
    meter: Meter
    may_pin: bool = True


def hash_key(key: bytes) -> bytes:
    """Returns the SHA-256 of a key. A fast hash is enough: keys made by `llmcore key` have 256 random bits."""
    return hashlib.sha256(key).digest()


class Keys:
    """All API keys of a service. `clock` gives the time in seconds for their meters."""

    def __init__(self, keys: Sequence[ApiKey], clock: Callable[[], float]) -> None:
        self._keys = keys
        self.clock = clock

    @property
    def names(self) -> list[str]:
        """Names of all keys, in the order of their configuration."""
        return [key.name for key in self._keys]

    def find(self, presented: bytes) -> ApiKey | None:
        """Returns the key that a request presented, or None. Always compares with every hash in constant time, so that the
        duration reveals neither matching bytes nor which key matched."""
        digest, found = hash_key(presented), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def load_keys(config: ServerConfig, clock: Callable[[], float] = time.monotonic) -> Keys | None:
    """Loads the keys of the file and of the option; None if neither is configured. Raises ConfigError, whose message never
    contains a hash or anything that may be a key."""
    if not config.api_keys_file and not config.api_keys:
        return None
    lines = [*_read_file(config.api_keys_file), *_read_option(config.api_keys)]
    if not lines:
        raise ConfigError(f"there is no key in {config.api_keys_file}", param="api_keys_file")
    _check_unique(lines)
    now_s = clock()
    keys = [
        ApiKey(line.name, bytes.fromhex(line.sha256), Meter(_rate_limits(line, config), now_s), line.pin)
        for line in lines
    ]
    return Keys(keys, clock)


def _check_unique(lines: Sequence[KeyLine]) -> None:
    names: set[str] = set()
    hashes: set[str] = set()
    for line in lines:
        if line.name in names:
            raise ConfigError(f"there are two API keys of the name {line.name}", param="api_keys")
        if line.sha256 in hashes:
            raise ConfigError(f"two API keys are the same: {line.name}", param="api_keys")
        names.add(line.name)
        hashes.add(line.sha256)


def _read_file(path: str) -> Iterator[KeyLine]:
    if not path:
        return
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read api_keys_file {path}: {error.strerror}", param="api_keys_file") from None
    decoder = msgspec.json.Decoder(KeyLine)
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip() and not line.startswith(b"#"):
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"api_keys_file {path}, line {number}: {error}", param="api_keys_file") from None


def _read_option(text: str) -> Iterator[KeyLine]:
    for number, entry in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, _, sha256 = entry.partition(":")
        try:
            yield msgspec.convert({"name": name, "sha256": sha256.lower()}, KeyLine)
        except msgspec.ValidationError as error:
            problem = f"api_keys, entry {number}: {error}; an entry is NAME:SHA256, as `llmcore key NAME` prints it"
            raise ConfigError(problem, param="api_keys") from None


def _rate_limits(line: KeyLine, config: ServerConfig) -> RateLimits:
    def choose(own: int | None, default: int) -> int:
        return default if own is None else own

    return RateLimits(
        choose(line.requests_per_minute, config.key_requests_per_minute),
        choose(line.tokens_per_minute, config.key_tokens_per_minute),
        choose(line.concurrent, config.key_concurrent),
    )
