"""Reply of DELETE /v1/requests/{id}."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class CancelReply(msgspec.Struct):
    id: str
    cancelled: Annotated[int, Meta(description="how many requests of that id were alive")]
    object: Literal["request"] = "request"
