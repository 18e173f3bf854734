"""The process that measures, as `llmcore tune` has it: started when it is needed, asked, and killed if it takes too long."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType

import msgspec

from llmcore.config import detach_paths
from llmcore.errors import LlmcoreError, error_from_code
from llmcore.trials import Asked, Candidate, Decide, Decided, Figures, Job, Measured, NotMeasured, Told, Try
from llmcore.wire import HEADER_BYTES, frame, frame_length

_PROCESS = "llmcore.trial_process"

# A process whose socket was closed is about to end.
_DEATH_S = 1.0


class TrialFailed(LlmcoreError):
    """A candidate cannot be measured: it does not fit, it takes too long, or its process died."""

    code = "trial_failed"


class TrialChild:
    """At most one process at a time, with the model loaded for one choice of BLAS. Use it with `with`."""

    def __init__(self, job: Job) -> None:
        """`job.blas` is replaced by each candidate's."""
        self._job = job
        self._blas: bool | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None

    def __enter__(self) -> TrialChild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def default(self, *, load_s: float, timeout_s: float) -> Candidate:
        """What serving takes where there is no profile. Raises and is bounded as measure()."""
        told = self._ask("deciding what is the default", Decide(), self._job.blas, load_s, timeout_s)
        assert isinstance(told, Decided)
        return told.candidate

    def measure(self, candidate: Candidate, *, is_full: bool, load_s: float, timeout_s: float) -> Figures:
        """Figures of one candidate. Raises TrialFailed, saying why, and what Model raises if the model cannot be loaded: then
        no other candidate can be measured either. `load_s` bounds loading, where that is needed, and timeout_s what follows."""
        told = self._ask("measuring", Try(candidate, is_full), candidate.blas, load_s, timeout_s)
        assert isinstance(told, Measured)
        return told.figures

    def _ask(self, what: str, asked: Asked, blas: bool, load_s: float, timeout_s: float) -> Told:
        if self._process is None or self._blas != blas:
            with self._bounded("loading the model", load_s):
                self._start(blas, load_s)
        with self._bounded(what, timeout_s):
            self._send(asked, timeout_s)
            told = self._receive()
        if isinstance(told, NotMeasured):
            raise TrialFailed(told.message)
        return told

    @contextlib.contextmanager
    def _bounded(self, what: str, seconds: float) -> Iterator[None]:
        """Whatever ends this but its end also ends the process: what it says next would be an answer to something else."""
        try:
            yield
        except TimeoutError:
            self.kill()
            raise TrialFailed(f"{what} took longer than {seconds:.3g} s") from None
        except (OSError, EOFError):
            raise TrialFailed(f"{what}: the process died ({_cause(self.kill(wait_s=_DEATH_S))})") from None
        except BaseException:
            self.kill()
            raise

    def _start(self, blas: bool, load_s: float) -> None:
        self.kill()
        ours, theirs = socket.socketpair()
        with theirs:
            self._sock, self._blas = ours, blas
            self._process = subprocess.Popen(
                [sys.executable, "-m", _PROCESS, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # The folder that the command is started in must not shadow anybody's modules (since Python 3.11).
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )
        config, paths = detach_paths(self._job.config)
        self._send(msgspec.structs.replace(self._job, config=config, paths=paths, blas=blas), load_s)
        told = self._receive()
        if isinstance(told, NotMeasured):
            raise error_from_code(told.code, told.message, "model_path")

    def kill(self, *, wait_s: float = 0.0) -> int | None:
        """Ends the process, at once or if it does not end by itself in wait_s, and reaps it. Returns its status (negative: a
        signal), None if there was none. Idempotent."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._process is None:
            return None
        process, self._process = self._process, None
        try:
            return process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _send(self, message: Job | Asked, timeout_s: float) -> None:
        assert self._sock is not None
        self._sock.settimeout(max(timeout_s, 0.001))
        self._sock.sendall(frame(message, msgspec.msgpack.Encoder()))

    def _receive(self) -> Told:
        n = frame_length(self._exactly(HEADER_BYTES))
        decoder: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)
        return decoder.decode(self._exactly(n))

    def _exactly(self, n: int) -> bytes:
        assert self._sock is not None
        data = b""
        while len(data) < n:
            more = self._sock.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data


def _cause(status: int | None) -> str:
    return signal.Signals(-status).name if status is not None and status < 0 else f"status {status}"
