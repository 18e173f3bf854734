"""The parent's side of the child process that measures: started on demand, killed if a trial takes too long."""

from __future__ import annotations

import contextlib
import socket

import msgspec

from llmcore.config import detach_paths
from llmcore.errors import LlmcoreError, error_from_code
from llmcore.machine.child_process import ChildProcess, exit_words, module_command, module_environ
from llmcore.protocol.framing import Channel
from llmcore.startup.trial_result import Candidate, Figures
from llmcore.tuning.trial_messages import TrialCommand, TrialJob, TrialReply

_MODULE = "llmcore.tuning.trial_child"

# Seconds for the child to exit by itself once its socket is closed.
_EXIT_S = 1.0


class TrialFailed(LlmcoreError):
    """A candidate cannot be measured: it does not fit, it takes too long, or its process died."""

    code = "trial_failed"


class TrialProcess:
    """Measures in a child process that has the model loaded. Use it with `with`: at the end of the block the child is killed."""

    def __init__(self, job: TrialJob) -> None:
        self._job = job
        self._process: ChildProcess | None = None
        self._sock: socket.socket | None = None
        self._channel: Channel[TrialReply] | None = None

    def __enter__(self) -> TrialProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def default(self, timeout_s: float) -> Candidate:
        """Returns the settings that serving takes without a profile. timeout_s bounds loading and deciding each. Raises like
        measure()."""
        reply = self._ask(TrialCommand(None), timeout_s, timeout_s)
        assert reply.candidate is not None
        return reply.candidate

    def measure(self, candidate: Candidate, *, load_s: float, timeout_s: float) -> Figures:
        """Measures one candidate. `load_s` bounds loading, if that is still to be done, and timeout_s the rest. Raises TrialFailed
        with the reason, and what Model raises if the model cannot be loaded: then no candidate can be measured."""
        reply = self._ask(TrialCommand(candidate), load_s, timeout_s)
        assert reply.figures is not None
        return reply.figures

    def _ask(self, command: TrialCommand, load_s: float, timeout_s: float) -> TrialReply:
        """Sends a command and returns its reply. Any error kills the process: its next message could still be this reply."""
        action, limit_s = "loading the model", load_s
        try:
            if self._process is None:
                self._start(load_s)
            action, limit_s = "measuring" if command.candidate else "deciding the default", timeout_s
            reply = self._exchange(command, timeout_s)
        except TimeoutError:
            self.kill()
            raise TrialFailed(f"{action} took longer than {limit_s:.3g} s") from None
        except (OSError, EOFError):
            status = self.kill(wait_s=_EXIT_S)
            cause = "it was not started" if status is None else exit_words(status)
            raise TrialFailed(f"{action}: the process died ({cause})") from None
        except BaseException:
            self.kill()
            raise
        if reply.code:
            raise TrialFailed(reply.message)
        return reply

    def _start(self, load_s: float) -> None:
        self._sock, theirs = socket.socketpair()
        self._channel = Channel(self._sock, TrialReply)
        with theirs:
            command = module_command(_MODULE, str(theirs.fileno()))
            self._process = ChildProcess(command, environ=module_environ(), pass_fds=[theirs.fileno()])
        config, paths = detach_paths(self._job.config)
        reply = self._exchange(msgspec.structs.replace(self._job, config=config, paths=paths), load_s)
        if reply.code:
            raise error_from_code(reply.code, reply.message, "model_path")

    def _exchange(self, message: TrialJob | TrialCommand, timeout_s: float) -> TrialReply:
        assert self._sock is not None
        assert self._channel is not None
        self._sock.settimeout(max(timeout_s, 0.001))
        self._channel.send(message)
        return self._channel.receive()

    def kill(self, *, wait_s: float = 0.0) -> int | None:
        """Kills the process unless it exits by itself within wait_s, and reaps it. Returns its status (negative: a signal), None if
        there was no process. Idempotent."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # close() alone waits for the channel
            self._sock.close()
            self._sock = self._channel = None
        if self._process is None:
            return None
        process, self._process = self._process, None
        return process.end(wait_s=wait_s)
