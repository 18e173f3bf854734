"""The calls of a worker: each command with a `call_id` gets one reply, at once or when its text is read, its vectors or its
prefix computed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from llmcore.engine.encoder import AnyEngine
from llmcore.errors import LlmcoreError, PrefixMissingError
from llmcore.messages import PrefixInfo
from llmcore.protocol.commands import (
    CallCommand,
    DetokenizeCommand,
    EmbedCommand,
    GetPrefixesCommand,
    GetStatsCommand,
    InspectCommand,
    RenderCommand,
    RerankCommand,
    TokenizeChatCommand,
    TokenizeCommand,
)
from llmcore.protocol.replies import (
    CallFailedReply,
    CallReply,
    InspectionReply,
    PrefixesReply,
    StatsReply,
    TextReply,
    TokensReply,
    VectorsReply,
)
from llmcore.worker.heartbeat import Heartbeat
from llmcore.worker.preparation import Preparation, PreparedRequest
from llmcore.worker.prompt_reading import Reading, reading

logger = logging.getLogger(__name__)


class CallHandler:
    """Answers calls. All methods belong to the engine's thread."""

    def __init__(
        self, engine: AnyEngine, heartbeat: Heartbeat, preparation: Preparation, send: Callable[[CallReply], None]
    ) -> None:
        self._engine = engine
        self._heartbeat = heartbeat
        self._preparation = preparation
        self._send = send
        self._pinning: dict[int, str] = {}  # ids of calls that wait for a prefix, and its name

    def answer(self, command: CallCommand, prepared: PreparedRequest | None = None) -> None:
        """Answers a call, or starts what it needs. `prepared` is the text of the call, if it was read beside the steps."""
        self._heartbeat.set_step_ids((command.call_id,))
        try:
            if prepared is not None and prepared.error is not None:
                raise prepared.error
            reply = self._reply(command, prepared)
        except LlmcoreError as error:
            self.fail(command.call_id, error)
        except Exception as error:  # a bug of ours must not end the other calls and requests
            logger.exception("call_failed")
            message = f"internal error: {type(error).__name__}"
            self._send(CallFailedReply(command.call_id, LlmcoreError.code, message))
        else:
            if reply is not None:
                self._send(reply)

    def fail(self, call_id: int, error: LlmcoreError) -> None:
        self._send(CallFailedReply(call_id, error.code, error.message, error.param, error.retry_after_s))

    def abandon(self, call_id: int) -> None:
        """Computes no more of a call whose caller has left."""
        self._preparation.discard(call_id)
        self._engine.embeddings.cancel(call_id)

    def step_embeddings(self) -> None:
        """Computes some texts between two steps, for at most half as long as a step if requests are being answered."""
        if not self._engine.embeddings.has_work:
            return
        for done in self._engine.embeddings.step(is_busy=self._engine.has_work):
            assert isinstance(done.id, int), "the ids of its jobs are those of calls"
            if done.vectors is None:
                assert done.error is not None
                self.fail(done.id, done.error)
            else:
                self._send(VectorsReply(done.id, done.vectors.tobytes(), done.vectors.shape[1], done.n_tokens))

    def answer_pinned(self) -> None:
        """Answers the calls whose prefix is computed, or gone."""
        if not self._pinning:
            return
        infos: dict[str, PrefixInfo] = {info.name: info for info in self._engine.prefixes.infos()}
        for call_id, name in list(self._pinning.items()):
            info = infos.get(name)
            if info is not None and not info.is_computed:
                continue
            del self._pinning[call_id]
            if info is not None:
                self._send(PrefixesReply(call_id, (info,)))
            else:
                self.fail(call_id, PrefixMissingError(f"the prefix {name!r} was unpinned, or failed"))

    def _reply(self, command: CallCommand, prepared: PreparedRequest | None) -> CallReply | None:
        """The reply to a call; None if it comes later."""
        engine, call_id = self._engine, command.call_id
        if isinstance(command, Reading):
            return self._read(command) if prepared is None else self._use_text(command, prepared.result)
        if isinstance(command, DetokenizeCommand):
            return TextReply(call_id, engine.model.detokenize(command.tokens, unparse_special=True))
        if isinstance(command, GetStatsCommand):
            return StatsReply(call_id, engine.stats())
        if isinstance(command, InspectCommand):
            return InspectionReply(call_id, engine.inspect())
        if isinstance(command, GetPrefixesCommand):
            return PrefixesReply(call_id, tuple(engine.prefixes.infos()))
        engine.prefixes.unpin(command.name)
        return PrefixesReply(call_id, ())

    def _read(self, command: Reading) -> CallReply | None:
        """Reads the text of a call: here, or in a preparing thread if it is long."""
        lane, work = reading(command, self._engine)
        if lane is None:
            return self._use_text(command, work())
        self._preparation.start(command.call_id, command, lane, work)
        return None

    def _use_text(self, command: Reading, text: Any) -> CallReply | None:
        """Answers a call whose text was read: `text` is the result of its work (prompt_reading.reading)."""
        engine, call_id = self._engine, command.call_id
        if isinstance(command, (TokenizeCommand, TokenizeChatCommand)):
            return TokensReply(call_id, text)
        if isinstance(command, RenderCommand):
            return TextReply(call_id, text)
        if isinstance(command, EmbedCommand):
            engine.embeddings.submit(call_id, text, dimensions=command.dimensions)
        elif isinstance(command, RerankCommand):
            engine.embeddings.submit_pairs(call_id, command.query, text)
        else:
            engine.prefixes.pin(command.prefix, tokens=text)
            self._pinning[call_id] = command.prefix.name
        return None
