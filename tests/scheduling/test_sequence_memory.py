"""Every stand-in for the native memory, and the native one, have all that the cache's policy calls."""

from __future__ import annotations

import inspect

import pytest

from llmcore.llama.kv_memory import KVMemory
from llmcore.scheduling.sequence_memory import SequenceMemory
from tests.scheduling.counting_memory import CountingMemory
from tests.scheduling.simulator import NoMemory

METHODS = [name for name, each in vars(SequenceMemory).items() if inspect.isfunction(each) and not name.startswith("_")]


@pytest.mark.parametrize("memory", [KVMemory, CountingMemory, NoMemory])
@pytest.mark.parametrize("name", METHODS)
def test_methods_take_the_same_arguments(memory: type, name: str) -> None:
    wanted = inspect.signature(getattr(SequenceMemory, name))
    assert list(inspect.signature(getattr(memory, name)).parameters) == list(wanted.parameters)
