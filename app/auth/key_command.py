"""Make an API key: it is shown once, and its line for the file of keys has only its hash."""

from __future__ import annotations

import argparse
import re
import secrets

import msgspec

from llmcore.errors import ConfigError

from .keys import NAME_PATTERN, KeyLine, hash_key

# Recognizable for those who look for secrets in the wrong places.
_PREFIX = "sk-llmcore-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="whose key it is: up to 64 letters, digits, '.', '_' and '-'; in logs and metrics")
    parser.add_argument("--no-pin", action="store_true", help="the key may not pin prefixes, nor let them go")


def run(args: argparse.Namespace) -> int:
    if not re.fullmatch(NAME_PATTERN, args.name):
        raise ConfigError("a key's name has 1 to 64 letters, digits, '.', '_' and '-'", param="name")
    key, line = generate_key(args.name, may_pin=not args.no_pin)
    print(f"key, shown only now:       {key}")
    print(f"line for --api-keys-file:  {msgspec.json.encode(line).decode()}")
    if line.pin:
        print(f"or for LLMCORE_API_KEYS:   {line.name}:{line.sha256}")
    return 0


def generate_key(name: str, *, may_pin: bool = True) -> tuple[str, KeyLine]:
    """A random key of 256 bits, and what is kept of it."""
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, KeyLine(name, hash_key(key.encode()).hex(), pin=may_pin)
