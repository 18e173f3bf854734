"""Ctrl-C in a program that uses the library: it ends what runs, soon, and reaches the program."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.llama.aside import Aside, interruptible
from llmcore.model import quantize
from tests.llama.programs import ROOT, TIMEOUT_S
from tests.tiny_models import write_tiny_llama

N_SIGNALS = 8

# Each program prints "ready", then does one thing over and over until it is interrupted.
BEGIN = """
import logging, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
logging.basicConfig(level=logging.DEBUG, filename=os.devnull)  # all lines of native code come to Python
import numpy, llguidance
from llmcore import *
from llmcore import chat, llm, model
from llmcore.model import quantize
path = sys.argv[1]
"""
LOOP = """
print("ready", flush=True)
n = 0
try:
    while True:
        n += 1
        work()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    again()
    print("well", flush=True)
"""
PROGRAMS = {
    "load": """
def work():
    Model(path).close()
again = work
""",
    "load with progress": """
def work():
    Model(path, progress=lambda fraction: [None] * 1000 != []).close()
again = work
""",
    "vocabulary": """
def work():
    Model(path, vocab_only=True).close()
again = work
""",
    "context": """
m = Model(path)
def work():
    Context(m, ContextParams(n_ctx=4096, n_slots=8)).close()
again = work
""",
    "prompt": """
m = Model(path)
c = Context(m, ContextParams(n_ctx=4096, n_batch=2048, n_ubatch=2048))
b = Batch(2048)
b.add(0, 0, range(2048), wants_logits=True)
def work():
    c.clear()
    c.decode(b)
def again():
    c.clear()
    b.clear()
    b.add(0, 0, range(5), wants_logits=True)
    c.decode(b)
    c.logits(4)
""",
    "generate": """
llm = LLM(path, n_ctx=4096, n_batch=2048, n_ubatch=2048, flash_attn="off", cache_type_k="f16", cache_type_v="f16")
llm.generate([1, 2], max_tokens=1)
def work():
    llm.generate([(n + i) % 250 + 3 for i in range(3000)], max_tokens=8)
def again():
    assert llm.generate([1, 2, 3], max_tokens=4).usage.n_generated > 0
    assert llm.generate([(7 * i) % 250 + 3 for i in range(100)], max_tokens=4).usage.n_generated > 0
""",
    "open": """
def work():
    with LLM(path, n_ctx=4096) as llm:
        llm.tokenize("a")
again = work
""",
    "quantize": """
def work():
    quantize(path, sys.argv[2], "Q4_K_M")
again = lambda: None
""",
}


@pytest.fixture(scope="module")
def larger_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Quantized, so that loading packs weights, and large enough that a load and a prompt take tenths of a second."""
    folder = tmp_path_factory.mktemp("interrupts")
    write_tiny_llama(folder / "plain.gguf", n_embd=512, n_layer=12, n_ff=2048, n_head=8, n_head_kv=8, n_ctx=4096)
    quantize(folder / "plain.gguf", folder / "packed.gguf", "Q8_0")
    return folder / "packed.gguf"


def interrupt(program: str, model: Path, after_s: float, *arguments: object) -> tuple[str, str, float]:
    """What the program prints and complains of, and how long it took from the signal to its word of that."""
    command = [sys.executable, "-X", "faulthandler", "-c", BEGIN + program + LOOP, str(model), *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killer = threading.Timer(TIMEOUT_S, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        sent_s = time.monotonic()
        said = process.stdout.readline()
        took_s = time.monotonic() - sent_s
        rest, errors = process.communicate()
    finally:
        killer.cancel()
    assert process.returncode == 0, errors
    return said + rest, errors, took_s


@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c_ends_it_and_reaches_the_program(name: str, larger_model: Path, tmp_path: Path) -> None:
    for i in range(N_SIGNALS if name.startswith("load") else 3):
        said, errors, _ = interrupt(PROGRAMS[name], larger_model, 0.05 + 0.037 * i, tmp_path / "quantized.gguf")
        assert said == "interrupted\nwell\n"
        assert "ignored" not in errors


# --- Aside ------------------------------------------------------------------------------------------------------------------


def test_a_call_aside_gives_its_result_or_its_error() -> None:
    assert Aside(lambda: threading.current_thread().name, None).run() == "llmcore-native"
    with pytest.raises(ZeroDivisionError):
        Aside(lambda: 1 // 0, None).run()


def test_questions_are_answered_in_the_callers_thread() -> None:
    here = threading.current_thread()
    asides: list[Aside[list[object]]] = []

    def call() -> list[object]:
        return [asides[0].ask(lambda: threading.current_thread() is here) for _ in range(3)]

    asides.append(Aside(call, None))
    assert asides[0].run() == [True, True, True]


def test_an_error_of_an_answer_stops_the_call_which_is_waited_for() -> None:
    events: list[str] = []
    stopped = threading.Event()
    asides: list[Aside[None]] = []

    def call() -> None:
        assert asides[0].ask(lambda: 1 // 0) is None
        assert stopped.wait(10)
        assert asides[0].ask(lambda: events.append("asked")) is None
        events.append("ended")

    asides.append(Aside(call, stopped.set))
    with pytest.raises(ZeroDivisionError):
        asides[0].run()
    assert events == ["ended"]


@pytest.fixture
def interrupted_soon() -> Iterator[None]:
    def interrupt_main() -> None:
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(0.1, interrupt_main)
    timer.start()
    yield
    timer.join()


@pytest.mark.usefixtures("interrupted_soon")
def test_a_call_that_cannot_be_stopped_goes_on_without_its_caller() -> None:
    goes_on, ended = threading.Event(), threading.Event()

    def call() -> None:
        assert goes_on.wait(10)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        interruptible(call, None)
    assert not ended.is_set()
    goes_on.set()
    assert ended.wait(10)


def test_calls_of_other_threads_stay_there() -> None:
    names: list[str] = []
    thread = threading.Thread(
        target=lambda: names.append(interruptible(lambda: threading.current_thread().name, None)), name="mine"
    )
    thread.start()
    thread.join()
    assert names == ["mine"]


def test_where_sigint_is_ignored_calls_stay_where_they_are() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert interruptible(threading.current_thread, None) is threading.current_thread()
    finally:
        signal.signal(signal.SIGINT, before)
