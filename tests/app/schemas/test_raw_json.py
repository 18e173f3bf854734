"""Fields that keep their JSON."""

from __future__ import annotations

import msgspec
import pytest

from llmcore_app.http.errors import ApiError
from llmcore_app.schemas.raw_json import is_absent, raw_field, raw_text


class Body(msgspec.Struct):
    schema: msgspec.Raw = raw_field()


@pytest.mark.parametrize(
    ("body", "absent", "text"),
    [
        (b"{}", True, "null"),
        (b'{"schema": null }', True, "null"),
        (b'{"schema":"null"}', False, '"null"'),
        (b'{"schema":{"b":1.50,"a":[]}}', False, '{"b":1.50,"a":[]}'),
    ],
)
def test_null_is_absent(body: bytes, absent: bool, text: str) -> None:
    schema = msgspec.json.decode(body, type=Body).schema
    assert (is_absent(schema), raw_text(schema, "schema")) == (absent, text)


def test_bytes_that_are_not_utf_8() -> None:
    with pytest.raises(ApiError, match="Invalid schema: it is not valid UTF-8"):
        raw_text(msgspec.Raw(b'{"a":"\xff"}'), "schema")
