"""The worker process: one engine, served over a socket until the client closes it.

worker/process.py starts it as `python -m llmcore.worker.main FD HEARTBEAT_FD`: one end of a socket pair, and the shared memory of
the heartbeat. The first frame is a ConfigureCommand.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

from llmcore import log
from llmcore.config import attach_paths
from llmcore.errors import LlmcoreError
from llmcore.machine.child_process import forbid_core_files
from llmcore.protocol.commands import Command, ConfigureCommand
from llmcore.protocol.framing import Channel
from llmcore.protocol.unreadable import Unreadable, unreadable
from llmcore.worker.heartbeat import Heartbeat
from llmcore.worker.loading import ClientGone, load_failure, open_and_warm
from llmcore.worker.loop import WorkerLoop

logger = logging.getLogger(__name__)


def serve(
    sock: socket.socket, heartbeat: Heartbeat, configure_log: Callable[[str | None], None] = log.configure
) -> int:
    """Loads the engine that the first command describes and serves it. Returns the process's exit status. `configure_log` gets the
    log level of that command."""
    with contextlib.closing(Channel[Command | Unreadable](sock, Command, unreadable)) as channel:
        return _serve(channel, heartbeat, configure_log)


def _serve(
    channel: Channel[Command | Unreadable], heartbeat: Heartbeat, configure_log: Callable[[str | None], None]
) -> int:
    try:
        first = channel.receive()
    except (EOFError, OSError):
        return 0
    if not isinstance(first, ConfigureCommand):
        raise TypeError(f"expected ConfigureCommand, got {type(first).__name__}")
    configure_log(first.log_level)
    try:
        config = attach_paths(first.engine, first.paths)
        engine = open_and_warm(config, channel, heartbeat)
    except ClientGone:
        return 0
    except Exception as error:  # reported whatever it is: a second attempt would fail in the same way
        if not isinstance(error, LlmcoreError):
            logger.exception("load_failed")
        with contextlib.suppress(OSError):
            channel.send(load_failure(error, first.engine.model_path))
        return 1
    if WorkerLoop(engine, channel, heartbeat, silent_s=first.engine.worker_silent_s).run():
        engine.close()
    return 0


class CauseHandler(logging.Handler):
    """Writes the message of an abort into the heartbeat, where the client finds it when this process is gone."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        super().__init__(logging.CRITICAL)
        self._heartbeat = heartbeat

    def emit(self, record: logging.LogRecord) -> None:
        self._heartbeat.set_cause(record.getMessage())


def main() -> None:
    # A terminal sends these signals to the whole process group, a service manager to all processes of a service. When this
    # process ends is its parent's decision, which may have answers to finish: it ends when its socket is closed.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    forbid_core_files()
    status = 1
    heartbeat = Heartbeat(int(sys.argv[2]))
    logging.getLogger(log.NATIVE).addHandler(CauseHandler(heartbeat))
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        try:
            status = serve(sock, heartbeat)
        except Exception as error:  # a bug of ours: exit at once, because clients see it only when the process is gone
            logger.exception("worker_failed")
            heartbeat.set_cause(f"{type(error).__name__}: {error}")
    # Threads of native code, of preparation and of the reader may still run: there is nothing of ours left to clean up.
    logging.shutdown()
    os._exit(status)


if __name__ == "__main__":
    main()
