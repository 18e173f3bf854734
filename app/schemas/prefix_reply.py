"""Replies of /v1/prefixes and /v1/prefixes/{name}."""

from __future__ import annotations

from typing import Literal

import msgspec


class PrefixCard(msgspec.Struct):
    name: str
    tokens: int
    computed: bool
    object: Literal["prefix"] = "prefix"


class PrefixList(msgspec.Struct):
    data: list[PrefixCard]
    object: Literal["list"] = "list"


class PrefixDeleted(msgspec.Struct):
    name: str
    object: Literal["prefix"] = "prefix"
    deleted: Literal[True] = True
