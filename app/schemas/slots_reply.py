"""Replies of /slots, in llama-server's shape without its texts and parameters."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class NextToken(msgspec.Struct):
    has_next_token: bool
    n_remain: Annotated[int, Meta(description="tokens that the answer is expected to have still")]
    n_decoded: int


class SlotReply(msgspec.Struct):
    id: int
    n_ctx: Annotated[int, Meta(description="cells of the context, which all slots share")]
    speculative: bool = False
    is_processing: bool = False
    request_id: Annotated[str | None, Meta(description="of the request that is being computed")] = None
    n_prompt_tokens: Annotated[int, Meta(description="of an idle slot: its cached tokens")] = 0
    n_prompt_tokens_processed: int = 0
    n_prompt_tokens_cache: int = 0
    next_token: list[NextToken] = []
