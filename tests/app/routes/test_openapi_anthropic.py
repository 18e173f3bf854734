"""The paths of Anthropic's API in the document."""

from __future__ import annotations

from llmcore_app.routes.openapi import openapi_document


def test_requests_and_errors_are_those_of_this_api() -> None:
    document = openapi_document("1")
    schemas = document["components"]["schemas"]
    for path, request in (("/v1/messages", "AnthropicRequest"), ("/v1/messages/count_tokens", "CountTokensRequest")):
        operation = document["paths"][path]["post"]
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        error = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert body["$ref"] == f"#/components/schemas/{request}"
        assert error["$ref"].endswith("/AnthropicErrorReply")
        assert "messages" in schemas[request]["required"]
    assert "max_tokens" in schemas["AnthropicRequest"]["required"]
    assert schemas["AnthropicErrorReply"]["properties"]["type"] == {"enum": ["error"]}
