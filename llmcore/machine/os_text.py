"""Text for strings that come from the system as bytes: arguments, environment variables, file names.

Python decodes such bytes to `str` with lone surrogates for undecodable ones. That is right for a *path*: os.fsencode() returns
the same bytes. It is not text: JSON, MessagePack and UTF-8 refuse it. So paths are sent as bytes, and strings to show (names,
messages, labels) are converted here, with U+FFFD for bytes that are not UTF-8.
"""

from __future__ import annotations

import os

from llmcore.errors import printable


def system_name(value: str | bytes | os.PathLike[str]) -> str:
    """Returns a string of the system as text, the same under every locale: its bytes as UTF-8, U+FFFD for other bytes."""
    try:
        return os.fsencode(value).decode("utf-8", "replace")
    except UnicodeEncodeError:  # did not come from the system: this locale cannot encode it
        return printable(os.fsdecode(value))


def name_as_path(name: str) -> str:
    """Returns a name from the hub or a JSON file as a path whose bytes on disk are UTF-8 under every locale."""
    return os.fsdecode(name.encode("utf-8"))
