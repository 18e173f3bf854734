"""Masks of matchers."""

from __future__ import annotations

from llmcore.grammar.matcher import Matcher


def allows(matcher: Matcher, token: int) -> bool:
    """Returns True if a mask allows a token."""
    return bool(int(matcher.mask[token // 32]) >> token % 32 & 1)
