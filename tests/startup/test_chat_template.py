"""The template that an engine opens: the model's own, a file, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore.errors import ConfigError, InvalidRequestError
from llmcore.llama.chat import RefusedTemplate
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt
from llmcore.startup import chat_template
from llmcore.startup.chat_template import open_template
from tests.log_events import event_names

PROMPT = ChatPrompt(b'[{"role": "user", "content": "abc"}]')


@pytest.fixture
def model(tiny: Callable[..., Path]) -> Model:
    return Model(tiny("own-template", chat_template="own {{ messages[0].content }}"))


def test_the_models_own_or_the_one_of_the_file(model: Model, tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("mine {{ messages[0].content }}")
    with model:
        with open_template(model) as own:
            assert own.render(PROMPT).prompt == "own abc"
        with open_template(model, str(file)) as mine:
            assert mine.render(PROMPT).prompt == "mine abc"


def test_a_file_that_cannot_be_read_is_named(model: Model, tmp_path: Path) -> None:
    binary = tmp_path / "binary.jinja"
    binary.write_bytes(b"\xff")
    with model:
        for path in (tmp_path / "none.jinja", binary):
            with pytest.raises(ConfigError, match=f"cannot read {path}"):
                open_template(model, str(path))


def test_one_that_fails_its_trial_is_refused(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(chat_template, "try_template", lambda source: "it is bad")
    file = tmp_path / "mine.jinja"
    file.write_text("x")
    with model:
        with pytest.raises(InvalidRequestError, match=r"mine\.jinja: it is bad"):
            open_template(model, str(file))
        assert isinstance(open_template(model), RefusedTemplate), "everything but chats is served"
    assert "chat_template_unusable" in event_names(caplog)


def test_one_that_is_too_long_is_not_even_tried(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "try_template", lambda source: pytest.fail("tried"))
    file = tmp_path / "long.jinja"
    file.write_text("x" * (2**20 + 1))
    with model, pytest.raises(InvalidRequestError, match="it has 1048577 characters"):
        open_template(model, str(file))
