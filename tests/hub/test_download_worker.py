"""What exceptions of the hub's client come down to. The rest of the child is seen from outside, in test_hub/client.py."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from llmcore.hub.download_worker import DownloadFailure, failure_of


class GatedRepoError(Exception):
    pass


class RevisionNotFoundError(Exception):
    pass


class TransportError(Exception):
    """As httpx names the base of what breaks on the wire."""


class ReadError(TransportError):
    pass


class HubError(OSError):
    """As huggingface_hub's are: an OSError without a number, with a response."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} for url: https://hub")
        self.response = SimpleNamespace(status_code=status, headers=headers or {})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (GatedRepoError(), "gated"),
        (RevisionNotFoundError(), "revision_missing"),
        (HubError(401), "denied"),
        (HubError(403), "denied"),
        (HubError(404), "other"),
        (HubError(408), "busy"),
        (HubError(429), "busy"),
        (HubError(504), "busy"),
        (ReadError(), "unreachable"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "unreachable"),
        (OSError("Consistency check failed"), "unreachable"),
        (OSError(errno.ENOSPC, "full"), "os"),
        (PermissionError(errno.EACCES, "no"), "os"),
        (ImportError("huggingface_hub"), "other"),
        (ValueError("?"), "other"),
        (DownloadFailure("other_file", "x"), "other_file"),
    ],
)
def test_kinds(error: Exception, kind: str) -> None:
    assert failure_of(error).kind == kind


@pytest.mark.parametrize(
    ("value", "expected"), [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), (None, 0.0)]
)
def test_how_long_the_hub_asks_to_wait(value: str | None, expected: float) -> None:
    headers = {} if value is None else {"Retry-After": value}
    assert failure_of(HubError(429, headers)).retry_after_s == expected


def test_messages_are_one_short_line() -> None:
    failure = failure_of(ValueError("a\nb" + "x" * 1000))
    assert failure.message.startswith("ValueError: a bx")
    assert len(failure.message) < 400
