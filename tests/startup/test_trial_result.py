"""Candidates in words, and scores of figures."""

from __future__ import annotations

import pytest

from llmcore.startup.trial_result import Figures, median_figures
from tests.tuning.candidates import DEFAULT, changed, figures


def test_a_difference_names_what_was_changed() -> None:
    assert DEFAULT.difference(DEFAULT) == ""
    assert changed(threads=2).difference(DEFAULT) == "threads 2/8"
    other = changed(n_ubatch=128, flash_attn=True, cache_type_k="q8_0")
    assert other.difference(DEFAULT) == "batch 512/128, flash, KV q8_0/f16"
    assert DEFAULT.difference(changed(flash_attn=True)) == "no flash"


def test_a_candidate_in_words_has_every_option() -> None:
    words = "threads=8 threads_batch=8 n_batch=512 n_ubatch=512 flash_attn=off cache_type_k=f16 cache_type_v=f16"
    assert str(DEFAULT) == words


def test_a_score_is_the_seconds_of_a_turn() -> None:
    found = Figures(
        n_cells=2048, decode_s=0.1, n_rows=8, rows_s=0.2, prompt_token_s=0.01, cold_token_s=0.005, waited=0.25
    )
    assert found.answer_s == pytest.approx(64 * 0.1)
    assert found.prompts_s == pytest.approx(256 * 0.01 + 1024 * 0.005 / 8)
    assert found.score_s == pytest.approx(found.answer_s + found.prompts_s)
    assert found.undisturbed_s == pytest.approx(0.75 * found.score_s)
    assert figures(1.0, waited=2.0).undisturbed_s == 0.0, "two threads that waited all the time"


def test_medians_are_taken_figure_by_figure() -> None:
    found = median_figures([figures(1.0, 9.0), figures(2.0, 7.0), figures(30.0, 8.0)])
    assert (found.decode_s, found.rows_s, found.prompt_token_s) == (2.0, 4.0, 8.0)
