"""Pinned prefixes of an engine: from a name and a prompt to cells that are never evicted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from llmcore.engine.prompts import Prompts
from llmcore.engine.speculation import Speculation
from llmcore.errors import ConfigError, InvalidRequestError, LlmcoreError, PrefixMissingError
from llmcore.log import event
from llmcore.messages import PrefixInfo, PrefixSpec, Prompt
from llmcore.protocol.checks import checked
from llmcore.protocol.commands import PinCommand
from llmcore.scheduling.scheduler import Scheduler
from llmcore.sequence import HIGH, Sequence
from llmcore.startup.prefix_store import PrefixStore

logger = logging.getLogger(__name__)

# Part of the cells that may be pinned. Pinned cells are lost to every conversation that does not share them.
_SHARE_MAX = 1 / 2

_ID = "pin:"


@dataclass(eq=False)
class _Pin:
    tokens: list[int]
    sequence: Sequence | None  # None once it is computed
    replaced: list[int] | None = None  # tokens of the prefix of that name that stays pinned until then


class PinnedPrefixes:
    """Computes each prefix as a sequence of its own, and remembers it by its name."""

    def __init__(
        self,
        scheduler: Scheduler,
        prompts: Prompts,
        store: PrefixStore | None,
        clock: Callable[[], float],
        check_open: Callable[[], None],
        speculation: Speculation,
    ) -> None:
        """`check_open` raises ClosedError if the engine is closed, or another process's."""
        self._scheduler = scheduler
        self._prompts = prompts
        self._store = store
        self._clock = clock
        self._check_open = check_open
        self._speculation = speculation
        self._pins: dict[str, _Pin] = {}

    def read(self, prompt: Prompt) -> list[int]:
        """Renders and tokenizes a prompt for pin(). For any thread. Raises InvalidRequestError or ContextLengthError."""
        self._check_open()
        return self._prompts.read_prefix(prompt)

    def pin(self, spec: PrefixSpec, *, tokens: list[int] | None = None) -> PrefixInfo:
        """Queues a prefix to be computed and never evicted. One of the same name is replaced once it is computed. `tokens` are the
        result of read(), if that was called. Raises InvalidRequestError or OverloadedError; nothing changes then."""
        self._check_open()
        if tokens is None:
            spec = checked(PinCommand(0, spec)).prefix
            tokens = self._prompts.read_prefix(spec.prompt)
        old = self._pins.get(spec.name)
        if old is not None and old.tokens == tokens:
            return self._info(spec.name)
        self._check_room(spec.name, tokens)
        sequence = Sequence(
            request_id=_ID + spec.name,
            tokens=tokens,
            n_prompt=len(tokens),
            n_tokens_max=len(tokens),
            arrived_s=self._clock(),
            priority=HIGH,
            checkpoints=(len(tokens),),
            is_prefix=True,
        )
        self._load(spec.name, sequence)
        replaced = None
        if old is not None:
            replaced = old.tokens if old.sequence is None else old.replaced
        if old is not None and old.sequence is not None:
            self._scheduler.admission.check(sequence, self._clock())  # before anything changes
            self._scheduler.remove(old.sequence, "cancelled")
            old.sequence = None
        self._scheduler.add(sequence, self._clock())
        self._pins[spec.name] = _Pin(list(tokens), sequence, replaced)
        return self._info(spec.name)

    def queue_all(self, specs: list[PrefixSpec]) -> None:
        """Queues the prefixes of a prefix file. Raises ConfigError or OverloadedError."""
        for spec in specs:
            try:
                self.pin(spec)
            except InvalidRequestError as error:
                message = f"prefix_file: {spec.name!r}: {error.message}"
                raise ConfigError(message, param="prefix_file") from None

    def check_computed(self, specs: list[PrefixSpec]) -> None:
        """Raises LlmcoreError if one of these prefixes is not pinned."""
        missing = {spec.name for spec in specs} - {info.name for info in self.infos() if info.is_computed}
        if missing:
            raise LlmcoreError(f"prefix {sorted(missing)[0]!r} cannot be computed: the lines before this say why")

    def unpin(self, name: str) -> None:
        """Forgets a prefix, whose cells may be evicted then. Raises PrefixMissingError."""
        self._check_open()
        pin = self._pins.pop(name, None)
        if pin is None:
            raise PrefixMissingError(f"there is no pinned prefix {name!r}", param="name")
        if pin.sequence is not None:
            self._scheduler.remove(pin.sequence, "cancelled")
        self._scheduler.cache.unpin(name)
        self._speculation.unpin(name)
        self._delete_unused_files()

    def pin_computed(self, sequences: list[Sequence]) -> None:
        """Pins those of a step's prefixes whose last token it has computed."""
        for sequence in sequences:
            if sequence.n_remaining == 0:
                self._pin_computed(sequence)

    def fail(self, sequence: Sequence, message: str) -> None:
        """Gives up a prefix that cannot be computed."""
        name = sequence.request_id.removeprefix(_ID)
        self._scheduler.remove(sequence, "failed")
        self._scheduler.cache.unpin(name)  # the prefix that it was to replace has lost its name
        self._speculation.unpin(name)
        del self._pins[name]
        self._delete_unused_files()
        event(logger, logging.ERROR, "prefix_failed", prefix=name, message=message)

    def infos(self) -> list[PrefixInfo]:
        """Returns the prefixes that are pinned or are being computed, in order of name."""
        self._check_open()
        return [self._info(name) for name in sorted(self._pins)]

    def _pin_computed(self, sequence: Sequence) -> None:
        name = sequence.request_id.removeprefix(_ID)
        self._scheduler.remove(sequence, "stop", self._clock(), pin=name)
        self._pins[name].sequence = self._pins[name].replaced = None
        self._speculation.pin(name, sequence.tokens)
        event(logger, logging.INFO, "prefix_pinned", prefix=name, n_tokens=len(sequence.tokens))
        self._delete_unused_files()  # first: the replaced prefix makes room
        if self._store is None or self._store.has(sequence.tokens):
            return
        exported = self._scheduler.cache.export(name)
        if exported is not None:
            self._store.save(*exported)

    def _load(self, name: str, sequence: Sequence) -> None:
        """Takes the state of a prefix from its file, if there is one and the cache does not have it already."""
        cache, tokens = self._scheduler.cache, sequence.tokens
        if self._store is not None and cache.n_known(sequence) < len(tokens) - 1:
            state = self._store.load(tokens)
            restored = state is not None and cache.adopt(tokens, state)
            event(logger, logging.INFO, "prefix_looked_up", prefix=name, n_tokens=len(tokens), restored=restored)

    def _delete_unused_files(self) -> None:
        """Deletes the files of prefixes that are pinned under no name any more."""
        if self._store is not None:
            pins = self._pins.values()
            replaced = [pin.replaced for pin in pins if pin.replaced is not None]
            self._store.retain([*(pin.tokens for pin in pins), *replaced])

    def _info(self, name: str) -> PrefixInfo:
        pin = self._pins[name]
        return PrefixInfo(name=name, n_tokens=len(pin.tokens), is_computed=pin.sequence is None)

    def _check_room(self, name: str, tokens: list[int]) -> None:
        cache = self._scheduler.cache
        others = [pin for each, pin in self._pins.items() if each != name]
        n_cells, n_most = sum(len(pin.tokens) for pin in others), int(cache.n_cells * _SHARE_MAX)
        if n_cells + len(tokens) > n_most:
            message = f"the prefix has {len(tokens)} tokens; {n_most - n_cells} of the context's {cache.n_cells} can be pinned"
            raise InvalidRequestError(message, param="prompt")
        if len(others) >= cache.n_slots - self._scheduler.limits.n_running - 1:
            raise InvalidRequestError(f"{len(others)} prefixes are pinned already, which is the most", param="name")
