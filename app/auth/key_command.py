"""Command `llmcore key`: generates an API key, prints it once, and prints the line with its hash for the file of keys."""

from __future__ import annotations

import argparse
import re
import secrets

import msgspec

from llmcore.errors import ConfigError

from .keys import NAME_PATTERN, KeyLine, hash_key

# Lets secret scanners recognize a key that was committed or logged by mistake.
_KEY_PREFIX = "sk-llmcore-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("name", help="name of the key in logs and metrics: up to 64 letters, digits, '.', '_' and '-'")
    parser.add_argument("--no-pin", action="store_true", help="the key may neither pin nor unpin prefixes")


def run(args: argparse.Namespace) -> int:
    """Prints a new key. Returns the exit status. Raises ConfigError for a bad name."""
    if not re.fullmatch(NAME_PATTERN, args.name):
        raise ConfigError("a key's name has 1 to 64 letters, digits, '.', '_' and '-'", param="name")
    key, line = generate_key(args.name, may_pin=not args.no_pin)
    print(f"key, shown only now:       {key}")
    print(f"line for --api-keys-file:  {msgspec.json.encode(line).decode()}")
    if line.pin:
        print(f"or for LLMCORE_API_KEYS:   {line.name}:{line.sha256}")
    return 0


def generate_key(name: str, *, may_pin: bool = True) -> tuple[str, KeyLine]:
    """Returns a random key of 256 bits and its line for the file of keys."""
    key = _KEY_PREFIX + secrets.token_urlsafe(32)
    return key, KeyLine(name, hash_key(key.encode()).hex(), pin=may_pin)
