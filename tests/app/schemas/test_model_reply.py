"""Replies of /v1/models are what OpenAI's SDK expects."""

from __future__ import annotations

import json

import msgspec
from openai.types import Model

from llmcore_app.schemas.model_reply import ModelCard, ModelList


def test_a_model() -> None:
    model = Model.model_validate_json(msgspec.json.encode(ModelCard("m", 1)))
    assert (model.id, model.created, model.object, model.owned_by) == ("m", 1, "model", "llmcore")


def test_a_list() -> None:
    reply = json.loads(msgspec.json.encode(ModelList([ModelCard("m", 1, context_length=100)])))
    assert reply["object"] == "list"
    assert reply["data"][0]["context_length"] == 100
