"""Loading an engine in the worker: progress is reported to the client, and so is a failure."""

from __future__ import annotations

from llmcore.config import EngineConfig
from llmcore.engine.encoder import AnyEngine, open_engine
from llmcore.errors import InsufficientMemoryError, LlmcoreError, ModelError, printable
from llmcore.protocol.commands import Command
from llmcore.protocol.framing import Channel
from llmcore.protocol.replies import LoadFailedReply, LoadingReply, ReadyReply, Reply
from llmcore.protocol.unreadable import Unreadable
from llmcore.worker.heartbeat import LOADING_S, Heartbeat

# Progress is reported in steps of this much, not for every tensor.
_PROGRESS_STEP = 0.02


class ClientGone(Exception):
    """The client closed its end while a model was loaded for it."""


def open_and_warm(config: EngineConfig, channel: Channel[Command | Unreadable], heartbeat: Heartbeat) -> AnyEngine:
    """Loads and warms an engine; reports the progress, and that it is ready. Raises ClientGone, and what open_engine() raises."""
    reported = -1.0

    def progress(fraction: float) -> bool:
        nonlocal reported
        heartbeat.beat(LOADING_S)
        if fraction - reported >= _PROGRESS_STEP or fraction >= 1.0:
            reported = fraction
            _send(channel, LoadingReply(fraction))
        return True

    engine = open_engine(config, progress=progress)
    try:
        engine.warm_up()
        _send(channel, ReadyReply(engine.info()))
    except BaseException:
        engine.close()
        raise
    return engine


def load_failure(error: Exception, path: str) -> LoadFailedReply:
    """The reply for a load that failed: a typed error unchanged; any other as a ModelError that names its class."""
    if isinstance(error, LlmcoreError):
        return LoadFailedReply(error.code, error.message, error.param)
    kind = InsufficientMemoryError if isinstance(error, MemoryError) else ModelError
    why = ": ".join(filter(None, (type(error).__name__, str(error))))
    return LoadFailedReply(kind.code, printable(f"cannot load {path}: {why}"), "model_path")


def _send(channel: Channel[Command | Unreadable], message: Reply) -> None:
    try:
        channel.send(message)
    except OSError:
        raise ClientGone from None
