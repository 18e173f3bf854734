"""Pairs of /v1/score."""

from __future__ import annotations

import pytest

from llmcore_app.http.errors import ApiError
from llmcore_app.schemas.score_request import ScoreRequest


def test_one_query_goes_with_every_document() -> None:
    assert ScoreRequest(text_1="q", text_2=["a", "b"]).pairs() == [("q", "a"), ("q", "b")]
    assert ScoreRequest(text_1=["q"], text_2=["a", "b"]).pairs() == [("q", "a"), ("q", "b")]


def test_several_queries_go_with_one_document_each() -> None:
    assert ScoreRequest(text_1=["p", "q"], text_2=["a", "b"]).pairs() == [("p", "a"), ("q", "b")]


def test_numbers_that_differ_are_refused() -> None:
    with pytest.raises(ApiError, match=r"as many as text_2 \(3\), got 2"):
        ScoreRequest(text_1=["p", "q"], text_2=["a", "b", "c"]).pairs()
