"""JSON responses of typed values."""

from __future__ import annotations

from llmcore_app.http.json_response import json_response
from llmcore_app.schemas.prefix_reply import PrefixDeleted


def test_a_value_is_encoded_with_its_status() -> None:
    response = json_response(PrefixDeleted("bot"), 201)
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert response.body == b'{"name":"bot","object":"prefix","deleted":true}'
