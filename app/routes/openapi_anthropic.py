"""The part of the OpenAPI document about Anthropic's API."""

from __future__ import annotations

from typing import Any, get_args

from ..http.error_shapes import AnthropicErrorReply
from ..schemas.anthropic_events import AnthropicEvent
from ..schemas.anthropic_reply import AnthropicModelList, AnthropicReply, CountTokensReply
from ..schemas.anthropic_request import AnthropicRequest, CountTokensRequest

ANTHROPIC_ROOTS = (
    *(AnthropicRequest, AnthropicReply, CountTokensRequest, CountTokensReply, AnthropicModelList, AnthropicErrorReply),
    *get_args(AnthropicEvent),
)

_EVENTS = "events `event: …` and `data: …` from `message_start` to `message_stop`, or `error`"


def anthropic_paths(ref_template: str) -> dict[str, Any]:
    """Returns the paths. `ref_template` makes a reference of a component's `{name}`."""

    def content(kind: type) -> dict[str, Any]:
        return {"application/json": {"schema": {"$ref": ref_template.format(name=kind.__name__)}}}

    def post(name: str, summary: str, request: type, reply: dict[str, Any]) -> dict[str, Any]:
        return {
            "post": {
                "operationId": name,
                "summary": f"Anthropic's API: {summary}",
                "requestBody": {"required": True, "content": content(request)},
                "responses": {
                    "200": {"description": "success", "content": reply},
                    "default": {"description": "an error", "content": content(AnthropicErrorReply)},
                },
            }
        }

    stream = {"text/event-stream": {"schema": {"type": "string", "description": _EVENTS}}}
    message = content(AnthropicReply) | stream
    return {
        "/v1/messages": post("createMessage", "the next message of a conversation", AnthropicRequest, message),
        "/v1/messages/count_tokens": post(
            "countTokens", "the number of a prompt's tokens", CountTokensRequest, content(CountTokensReply)
        ),
    }
