"""A service with a draft model: the worker loads both models, also after it was killed, and answers as it does without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from benchmarks.service import Service, wait_until

FLAGS = ("--n-ctx", "512", "--n-slots", "2", "--self-check", "off", "--flash-attn", "on", "--log-level", "info")


def flags(model: Path, *more: str) -> list[str]:
    return ["--model-path", str(model), "--cache-type-k", "f16", "--cache-type-v", "f16", *FLAGS, *more]


def answer(service: Service) -> str:
    body = {"prompt": "Once upon a time", "max_tokens": 24, "temperature": 0, "ignore_eos": True}
    reply = httpx.post(f"{service.base_url}/v1/completions", json=body, timeout=120)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["text"])


def test_answers_are_those_without_it_and_a_killed_worker_has_it_again(
    tiny: Callable[..., Path], tiny_model: Path
) -> None:
    draft = tiny("drafting", n_layer=1, seed=3)
    with Service(*flags(tiny_model, "--speculation", "off")) as service:
        expected = answer(service)
    with Service(*flags(tiny_model, "--draft-model", str(draft), "--speculation", "model")) as service:
        assert answer(service) == expected
        service.worker.kill()
        assert answer(service) == expected
        wait_until(
            lambda: sum(" draft_model " in line for line in service.log) == 2, 30, "the second load of the draft model"
        )


def test_a_draft_model_that_does_not_fit_ends_the_start_with_one_line(tiny_model: Path, default_model: Path) -> None:
    service = Service(*flags(tiny_model, "--draft-model", str(default_model)))
    with pytest.raises(RuntimeError, match=r"draft_model: .* has another vocabulary than .*: token 0 is"):
        service.wait()
    said = [line for line in service.log if line.startswith("llmcore:")]
    assert len(said) == 1
