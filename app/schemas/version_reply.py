"""Replies of /version, in vLLM's shape."""

from __future__ import annotations

import msgspec


class VersionReply(msgspec.Struct):
    version: str
