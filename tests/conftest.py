"""Real parts for the tests: the default chat model, tiny files with random weights, the fetched llama.cpp source."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.source import llama_cpp_dir
from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.hub.model_store import default_model_path
from llmcore.llama.ffi import library
from llmcore.llama.model import Model
from tests.disturbed_model import write_disturbed
from tests.minilm import PackageMissing, gguf_file
from tests.tiny_models import write_tiny_bert, write_tiny_llama, write_tiny_mamba

# One of few questions that the default model answers in one short sentence whatever its kernels round.
SURE_SYSTEM = "The dog's name is Bruno. Answer in one sentence."
SURE_QUESTION = "What is the dog's name?"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--native", type=Path, help="a folder of native libraries to test instead of the installed ones")
    parser.addoption("--findings", type=Path, help="a folder for what tests of all architectures (-m families) find")
    parser.addoption("--disturb", type=int, help="test with a default model that is a little off, by this seed")


def pytest_configure(config: pytest.Config) -> None:
    """Child processes load the installed libraries all the same. And they can be interrupted, also where a shell started the
    tests in the background, which ignores that signal for all that follows."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    folder = config.getoption("--native")
    if folder is not None:
        pytest.MonkeyPatch().setattr(library, "library_dir", lambda: folder.absolute())


@pytest.fixture(scope="session", autouse=True)
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests measure is remembered for this run only, also by the services that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMCORE_PROFILE_DIR", str(tmp_path_factory.mktemp("profiles")))
        yield


@pytest.fixture(scope="session")
def pulled_model() -> Path:
    """SmolLM2-135M-Instruct, which set-up has fetched."""
    path = default_model_path()
    assert path is not None, "the default model is not here: run `llmcore pull` (make test does)"
    return path


@pytest.fixture(scope="session")
def default_model(pulled_model: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That, or a copy which --disturb has changed."""
    seed = request.config.getoption("--disturb")
    if seed is None:
        return pulled_model
    return write_disturbed(pulled_model, tmp_path_factory.mktemp("disturbed") / pulled_model.name, seed)


@pytest.fixture(scope="session")
def llama_cpp() -> Path:
    """The source that the native libraries were built from."""
    return llama_cpp_dir()


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def tiny(tiny_dir: Path) -> Callable[..., Path]:
    """tiny(name, **details of write_tiny_llama): a file with random weights, made once a session."""

    def make(name: str, **details: Any) -> Path:
        path = tiny_dir / f"{name}.gguf"
        if not path.exists():
            write_tiny_llama(path, **details)
        return path

    return make


@pytest.fixture(scope="session")
def tiny_model(tiny: Callable[..., Path]) -> Path:
    """The plain one: two layers of width 64, F32."""
    return tiny("plain")


@pytest.fixture(scope="session")
def tiny_recurrent(tiny_dir: Path) -> Path:
    """A model whose memory is a state that cannot go back."""
    path = tiny_dir / "recurrent.gguf"
    write_tiny_mamba(path)
    return path


@pytest.fixture(scope="session")
def tiny_bert(tiny_dir: Path) -> Path:
    """An encoder that gives embeddings (mean) of texts of up to 512 tokens."""
    return write_tiny_bert(tiny_dir / "bert.gguf")


@pytest.fixture(scope="session")
def tiny_reranker(tiny_dir: Path) -> Path:
    return write_tiny_bert(tiny_dir / "reranker.gguf", pooling_type="rank")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2 as GGUF: a real embedding model, made once and kept."""
    try:
        return gguf_file()
    except PackageMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def chat_model(default_model: Path) -> Iterator[Model]:
    """The default model, loaded; shared, since it is read-only."""
    with Model(default_model) as model:
        yield model


def exact(path: Path, **options: Any) -> EngineConfig:
    """A configuration in which nothing but the weights rounds, so that chunks and neighbours change no answer."""
    plain = {"flash_attn": "off", "cache_type_k": "f32", "cache_type_v": "f32"}
    return EngineConfig(model_path=str(path), **{**plain, **options})


@pytest.fixture
def tiny_engine(tiny_model: Path) -> Iterator[Engine]:
    """A fresh engine with random F32 weights and F32 cells: its kernels round so little that equal tokens can be asked for."""
    with Engine.open(exact(tiny_model, n_ctx=1024, n_slots=4)) as opened:
        yield opened


@pytest.fixture
def engine(default_model: Path) -> Iterator[Engine]:
    """A fresh engine with the default model."""
    with Engine.open(EngineConfig(model_path=str(default_model), n_ctx=2048, n_slots=4)) as opened:
        yield opened
