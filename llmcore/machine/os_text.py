"""Text of what the system gave as bytes: arguments, environment variables, file names.

Python gives such bytes as `str` in which what it cannot decode stands as lone surrogates. As a *path* that is right, since
os.fsencode() makes the very bytes of it again. It is no text: JSON, MessagePack and UTF-8 refuse it. So a path travels as bytes,
and what is shown (a name, a message, a label) goes through here. U+FFFD stands for what is not UTF-8.
"""

from __future__ import annotations

import os

from llmcore.errors import printable


def system_name(value: str | bytes | os.PathLike[str]) -> str:
    """Name of what the system gave, the same under every locale: its bytes as UTF-8, U+FFFD for those that are not."""
    try:
        return os.fsencode(value).decode("utf-8", "replace")
    except UnicodeEncodeError:  # not of the system: this locale has no bytes for it
        return printable(os.fsdecode(value))


def name_as_path(name: str) -> str:
    """A name from elsewhere (the hub, a JSON file) as a path: its bytes on the disk are UTF-8 under every locale."""
    return os.fsdecode(name.encode("utf-8"))
