"""The protocols of the engine against the classes that implement them."""

from __future__ import annotations

import inspect

import pytest

from llmcore.worker.client import AsyncEngine
from llmcore.worker.generation import Generation
from llmcore_app.service.engine import EngineLike, GenerationLike
from tests.app.fake_engine import FakeEngine, FakeGeneration


def methods(protocol: type) -> dict[str, inspect.Signature]:
    """The protocol's own methods."""
    return {
        name: inspect.signature(member)
        for name, member in vars(protocol).items()
        if inspect.iscoroutinefunction(member)
    }


@pytest.mark.parametrize(
    ("protocol", "implementation"),
    [
        (EngineLike, AsyncEngine),
        (EngineLike, FakeEngine),
        (GenerationLike, Generation),
        (GenerationLike, FakeGeneration),
    ],
)
def test_every_method_takes_the_protocols_parameters(protocol: type, implementation: type) -> None:
    assert methods(protocol)
    for name, signature in methods(protocol).items():
        method = getattr(implementation, name)
        assert inspect.iscoroutinefunction(method), name
        wanted = [(each.name, each.kind) for each in signature.parameters.values()]
        assert [(each.name, each.kind) for each in inspect.signature(method).parameters.values()] == wanted, name
