"""The benchmark of requests that mean harm, on the real service with a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.hostile import Outcome, cases, lines, measure
from benchmarks.service import Service
from tests.tiny_models import write_tiny_llama

CHAT_TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


def test_cases_on_our_service(tmp_path: Path) -> None:
    path = write_tiny_llama(tmp_path / "chat.gguf", chat_template=CHAT_TEMPLATE)
    few = cases(n_characters=100_000)
    expected = {"600 optional properties": 400, "blanks as a prompt": 400, "64 answers at once": 200}
    with Service("--model-path", str(path), "--n-ctx", "2048").wait() as service:
        found = [measure(service.base_url, name, *few[name], settle_s=0.2) for name in expected]
    assert {each.name: each.status for each in found} == expected
    assert all(0 < each.gap_s < float("inf") for each in found)


def test_the_table_tells_status_and_gap() -> None:
    *_, row = lines([Outcome("a case", 400, 0.5, 0.0301)])
    assert row == "| a case | 400 | 0.50 | 0.030 |"


@pytest.mark.parametrize("name", cases(10))
def test_every_case_has_a_path_and_a_body(name: str) -> None:
    path, body = cases(10)[name]
    assert path.startswith("/")
    assert body
