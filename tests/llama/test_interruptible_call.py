"""Ctrl-C in a program that uses the library: it ends native calls soon and reaches the program."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.llama.interruptible_call import InterruptibleCall, call_interruptibly, no_stop
from tests.llama.programs import run_program
from tests.tiny_models import write_tiny_llama

# Each program does one thing over and over, and is interrupted at random.
BEGIN = """
import logging, os, random, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
logging.basicConfig(level=logging.DEBUG, filename=os.devnull)  # all lines of native code come to Python
import numpy, llguidance
from llmcore import *
import llmcore.library.llm  # with all that it imports: an interrupted import is another matter
from llmcore.llama import chat, model
from llmcore.llama.quantization import quantize
path, n_signals, within_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
again = lambda: None
"""
LOOP = """
for i in range(n_signals):
    timer = threading.Timer(within_s * (i + 0.5) / n_signals, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        while True:
            work()
    except KeyboardInterrupt:
        pass
    timer.join()
    again()
print("well")
"""
# How often, within how many seconds, and what.
PROGRAMS = {
    "load": (
        24,
        0.5,
        """
def work():
    Model(path).close()
""",
    ),
    "load with progress": (
        24,
        0.5,
        """
def work():
    Model(path, progress=lambda fraction: [None] * 1000 != []).close()
""",
    ),
    "vocabulary": (
        24,
        0.1,
        """
def work():
    Model(path, vocab_only=True).close()
""",
    ),
    "context": (
        12,
        0.2,
        """
m = Model(path)
def work():
    Context(m, ContextParams(n_ctx=4096, n_slots=8)).close()
""",
    ),
    "prompt": (
        8,
        0.4,
        """
m = Model(path)
c = Context(m, ContextParams(n_ctx=4096, n_batch=2048, n_ubatch=2048))
b = Batch(2048)
def work():
    b.clear()
    b.add(0, 0, range(2048), wants_logits=True)
    c.clear()
    c.decode(b)
def again():
    c.clear()
    b.clear()
    b.add(0, 0, range(5), wants_logits=True)
    c.decode(b)
    c.logits(4)
""",
    ),
    "generate": (
        8,
        0.6,
        """
llm = LLM(path, n_ctx=4096, n_batch=2048, n_ubatch=2048, flash_attn="off", cache_type_k="f16", cache_type_v="f16")
llm.generate([1, 2], max_tokens=1)
def work():
    llm.generate([(i * 7 + time.monotonic_ns()) % 250 + 3 for i in range(3000)], max_tokens=8)
def again():
    assert llm.generate([1, 2, 3], max_tokens=4).usage.n_generated > 0
    assert llm.generate([(7 * i) % 250 + 3 for i in range(100)], max_tokens=4).usage.n_generated > 0
""",
    ),
    "open": (
        6,
        1.0,
        """
def work():
    with LLM(path, n_ctx=4096) as llm:
        llm.tokenize("a")
""",
    ),
    "quantize": (
        4,
        0.3,
        """
def work():
    quantize(path, sys.argv[4], "Q4_0", requantize=True)
def again():
    assert not [name for name in os.listdir(os.path.dirname(sys.argv[4])) if "partial" in name]
""",
    ),
}


@pytest.fixture(scope="module")
def larger_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Quantized, so that loading packs weights, and large enough that a load and a prompt take tenths of a second."""
    path = tmp_path_factory.mktemp("interrupts") / "larger.gguf"
    return write_tiny_llama(path, n_embd=512, n_layer=12, n_ff=2048, n_head=8, n_head_kv=8, n_ctx=4096, quant="Q8_0")


@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c_ends_it_and_reaches_the_program(name: str, larger_model: Path, tmp_path: Path) -> None:
    n_signals, within_s, program = PROGRAMS[name]
    whole = BEGIN + program + LOOP
    done = run_program(whole, larger_model, n_signals, within_s, tmp_path / "quantized.gguf")
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
    assert "KeyboardInterrupt" not in done.stderr


# --- InterruptibleCall ------------------------------------------------------------------------------------------------------


def test_a_call_in_a_thread_of_its_own_returns_its_result_or_raises_its_error() -> None:
    assert InterruptibleCall(lambda: threading.current_thread().name, no_stop).result() == "llmcore-native"
    with pytest.raises(ZeroDivisionError):
        InterruptibleCall(lambda: 1 // 0, no_stop).result()


def test_questions_are_answered_in_the_callers_thread() -> None:
    here = threading.current_thread()
    calls: list[InterruptibleCall[list[object]]] = []

    def call() -> list[object]:
        return [calls[0].ask_caller(lambda: threading.current_thread() is here) for _ in range(3)]

    calls.append(InterruptibleCall(call, no_stop))
    assert calls[0].result() == [True, True, True]


def test_an_error_of_an_answer_stops_the_call_which_is_waited_for() -> None:
    events: list[str] = []
    stopped = threading.Event()
    calls: list[InterruptibleCall[None]] = []

    def call() -> None:
        assert calls[0].ask_caller(lambda: 1 // 0) is None
        assert stopped.wait(10)
        assert calls[0].ask_caller(lambda: events.append("asked")) is None
        events.append("ended")

    calls.append(InterruptibleCall(call, stopped.set))
    with pytest.raises(ZeroDivisionError):
        calls[0].result()
    assert events == ["ended"]


@pytest.fixture
def interrupted_twice() -> Iterator[None]:
    timers = [threading.Timer(seconds, signal.raise_signal, (signal.SIGINT,)) for seconds in (0.1, 0.5)]
    for timer in timers:
        timer.start()
    yield
    for timer in timers:
        timer.join()


@pytest.mark.usefixtures("interrupted_twice")
def test_a_second_ctrl_c_leaves_a_call_that_does_not_stop_to_its_thread_which_the_interpreter_waits_for() -> None:
    goes_on, stopped = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def call() -> None:
        threads.append(threading.current_thread())
        assert goes_on.wait(10)

    with pytest.raises(KeyboardInterrupt):
        call_interruptibly(call, stopped.set)
    assert stopped.is_set()
    assert threads[0].is_alive()
    assert not threads[0].daemon
    goes_on.set()
    threads[0].join(10)
    assert not threads[0].is_alive()


def test_calls_of_other_threads_stay_there() -> None:
    names: list[str] = []
    thread = threading.Thread(
        target=lambda: names.append(call_interruptibly(lambda: threading.current_thread().name, no_stop)), name="mine"
    )
    thread.start()
    thread.join()
    assert names == ["mine"]


def test_where_sigint_is_ignored_calls_stay_where_they_are() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert call_interruptibly(threading.current_thread, no_stop) is threading.current_thread()
    finally:
        signal.signal(signal.SIGINT, before)
