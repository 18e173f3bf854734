"""A constraint that leaves a choice: the answer is calls, or content of a given form."""

from __future__ import annotations

from llmcore.errors import ConstraintError
from llmcore.grammar.content_gate import TokenConstraint
from llmcore.llama.ffi.arrays import UInt32Array


class CallOrContent:
    """Follows both constraints until a token excludes one of them.

    Args:
        calls: constraint on calls. Its mask, and that of the content, must not be None.
        content: constraint on content.
    """

    def __init__(self, calls: TokenConstraint, content: TokenConstraint) -> None:
        self._calls = calls
        self._content = content
        self._open = [calls, content]
        assert content.mask is not None
        self._mask = content.mask.copy()

    @property
    def is_content(self) -> bool:
        """True if the answer can only be content any more."""
        return self._open == [self._content]

    @property
    def is_decided(self) -> bool:
        return len(self._open) == 1

    @property
    def mask(self) -> UInt32Array | None:
        return self._open[0].mask if self.is_decided else self._mask

    @property
    def failure(self) -> ConstraintError:
        return self._open[-1].failure

    @property
    def is_complete(self) -> bool:
        return all(each.is_complete for each in self._open)

    def fill(self) -> None:
        for each in self._open:
            each.fill()
        if not self.is_decided:
            self._mask.fill(0)
            for each in self._open:
                if each.mask is not None and not each.is_complete:
                    self._mask |= each.mask

    def accept(self, token: int) -> None:
        if not self.is_decided:
            for each in self._open:
                each.fill()
            allowing = [each for each in self._open if not each.is_complete and _allows(each.mask, token)]
            self._open = allowing or [self._content]
        for each in self._open:
            each.accept(token)

    def forced(self) -> list[int]:
        return self._open[0].forced() if self.is_decided else []


def _allows(mask: UInt32Array | None, token: int) -> bool:
    return mask is not None and bool(int(mask[token // 32]) >> token % 32 & 1)
