"""API keys: their names, their hashes and their limits. The keys themselves are nowhere here but in a caller's request."""

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

# Names become values of a metric's label, and stand in logs as they are.
NAME_PATTERN = r"[A-Za-z0-9._-]{1,64}"

_Limit = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class KeyLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of the file. A limit that it has stands instead of the option's; 0 is no limit."""

    name: Annotated[str, Meta(pattern=f"^{NAME_PATTERN}$")]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    requests_per_minute: _Limit | None = None
    tokens_per_minute: _Limit | None = None
    concurrent: _Limit | None = None
    pin: bool = True  # whether it may pin prefixes, and let them go


@dataclass(frozen=True)
class ApiKey:
    name: str
    digest: bytes
    meter: Meter
    may_pin: bool = True


def hash_key(key: bytes) -> bytes:
    """SHA-256: enough for keys that are random, as those of `llmcore key` are."""
    return hashlib.sha256(key).digest()


class Keys:
    """All keys of a service, and the clock of their meters."""

    def __init__(self, keys: Sequence[ApiKey], clock: Callable[[], float]) -> None:
        self._keys = keys
        self.clock = clock

    @property
    def names(self) -> list[str]:
        return [key.name for key in self._keys]

    def find(self, given: bytes) -> ApiKey | None:
        """In a time that tells neither how much of a key is right nor whose it is: always all are compared."""
        digest, found = hash_key(given), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def load_keys(config: ServerConfig, clock: Callable[[], float] = time.monotonic) -> Keys | None:
    """None where no keys are configured. Raises ConfigError, which never shows a hash, nor what may be a key."""
    if not config.api_keys_file and not config.api_keys:
        return None
    lines = [*_of_file(config.api_keys_file), *_of_option(config.api_keys)]
    if not lines:
        raise ConfigError(f"there is no key in {config.api_keys_file}", param="api_keys_file")
    for what in ("name", "sha256"):
        seen: set[str] = set()
        for line in lines:
            if getattr(line, what) in seen:
                problem = "there are two API keys of the name" if what == "name" else "two API keys are the same:"
                raise ConfigError(f"{problem} {line.name}", param="api_keys")
            seen.add(getattr(line, what))
    meters = (Meter(_limits(line, config), clock()) for line in lines)
    found = [
        ApiKey(line.name, bytes.fromhex(line.sha256), meter, line.pin)
        for line, meter in zip(lines, meters, strict=True)
    ]
    return Keys(found, clock)


def _of_file(path: str) -> Iterator[KeyLine]:
    if not path:
        return
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read api_keys_file {path}: {error.strerror}", param="api_keys_file") from None
    decoder = msgspec.json.Decoder(KeyLine)
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith(b"#"):
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"api_keys_file {path}, line {number}: {error}", param="api_keys_file") from None


def _of_option(text: str) -> Iterator[KeyLine]:
    for number, each in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, _, sha256 = each.partition(":")
        try:
            yield msgspec.convert({"name": name, "sha256": sha256.lower()}, KeyLine)
        except msgspec.ValidationError as error:
            problem = f"api_keys, entry {number}: {error}; an entry is NAME:SHA256, as `llmcore key NAME` makes it"
            raise ConfigError(problem, param="api_keys") from None


def _limits(line: KeyLine, config: ServerConfig) -> RateLimits:
    def of(own: int | None, default: int) -> int:
        return default if own is None else own

    return RateLimits(
        of(line.requests_per_minute, config.key_requests_per_minute),
        of(line.tokens_per_minute, config.key_tokens_per_minute),
        of(line.concurrent, config.key_concurrent),
    )
