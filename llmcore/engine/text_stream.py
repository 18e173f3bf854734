"""Text of an answer as it grows: whole characters only, and nothing of a stop string. Knows bytes and strings, no tokens."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Sequence


class TextStream:
    """Turns the bytes of tokens into text that can be shown, piece by piece.

    `push` returns the text that is certain. Bytes of an unfinished UTF-8 character wait for the rest of it, and text that could
    still become a stop string waits until it is known not to. Once a stop string is complete, `stopped` is true, `stop_string`
    is that string, and all text before it has been returned, with the stop string itself if it is one of `shown_stops`. Invalid
    bytes become U+FFFD.
    """

    def __init__(self, stops: Sequence[str] = (), shown_stops: Collection[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(stop for stop in stops if stop)
        self._shown_stops = frozenset(shown_stops)
        self._held = ""
        self._n_cut = 0
        self.stopped = False
        self.stop_string = ""  # the one that was found

    @property
    def n_held(self) -> int:
        """Number of bytes, the last ones pushed, whose text was not returned. Those of a stop string and behind it never are."""
        return self._n_cut + len(self._held.encode()) + len(self._decoder.getstate()[0])

    def push(self, data: bytes, *, may_stop: bool = True) -> str:
        """Adds the bytes of a token and returns the text that became certain by it. Without `may_stop`, the text so far
        is not searched for stop strings."""
        text = self._decoder.decode(data)
        if may_stop or self.stopped:
            return self._advance(text)
        text, self._held = self._held + text, ""
        return text

    def finish(self) -> str:
        """Returns the text that was held back, since nothing can complete it any more."""
        text = self._advance(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        return text

    def _advance(self, text: str) -> str:
        if self.stopped:
            self._n_cut += len(text.encode())
            return ""
        held = self._held + text
        found = [(at, stop) for stop in self._stops if (at := held.find(stop)) >= 0]
        if found:
            at, stop = min(found)
            end = at + len(stop) if stop in self._shown_stops else at
            self.stopped, self.stop_string, self._held, self._n_cut = True, stop, "", len(held[end:].encode())
            return held[:end]
        keep = max((_overlap(held, stop) for stop in self._stops), default=0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`, but not all of it."""
    for n in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:n]):
            return n
    return 0
