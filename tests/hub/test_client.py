"""Faults of the hub during a download: the result is the right file, or an error with the cause."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmcore.hub import client
from llmcore.hub.registry import HubSource, KnownModel
from llmcore.hub.transfer import SourceError, UnreachableError
from tests.hub_stand_in import API, COMMIT, CONTENT, RESOLVE, Fault, HubStandIn, connect, running, sha256

FILE = "m.gguf"
CHUNK = 2**18
OLD, NEW = os.urandom(4 * CHUNK), os.urandom(4 * CHUNK)
Download = Callable[..., tuple[bytes, list[str]]]


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStandIn]:
    with running(HubStandIn({FILE: OLD})) as stand_in:
        connect(stand_in, monkeypatch, tmp_path)
        yield stand_in


@pytest.fixture
def download(hub_server: HubStandIn, tmp_path: Path) -> Download:
    """Downloads the file; `data` is its expected content, None if that is unknown."""
    folder = tmp_path / "partial"
    folder.mkdir()

    def downloading(data: bytes | None = OLD) -> tuple[bytes, list[str]]:
        lines: list[str] = []
        source = HubSource("owner/name", FILE, COMMIT)
        model = KnownModel(
            name="m", file=FILE, sources=(source,), size_bytes=len(data or b""), sha256=sha256(data) if data else ""
        )
        python = sys.executable
        path = client.download(source, model, folder, python=python, progress=lambda *_: None, notify=lines.append)
        return path.read_bytes(), lines

    return downloading


def test_a_cut_is_resumed_by_range(hub_server: HubStandIn, download: Download) -> None:
    hub_server.fail(CONTENT, Fault(cut_after=CHUNK), Fault(cut_after=CHUNK + 1))
    assert download()[0] == OLD
    assert [seen.range for seen in hub_server.kinds("content")] == ["", f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]


def test_a_reset_of_the_connection(hub_server: HubStandIn, download: Download) -> None:
    hub_server.fail(CONTENT, Fault(cut_after=CHUNK, resets=True))
    data, lines = download()
    assert data == OLD
    assert any("trying again in 0.01 s" in line for line in lines)


def test_a_server_that_ignores_ranges(hub_server: HubStandIn, download: Download) -> None:
    hub_server.fail(CONTENT, Fault(cut_after=CHUNK), Fault(ignores_range=True))
    assert download()[0] == OLD


@pytest.mark.parametrize("kind", [RESOLVE, CONTENT])
@pytest.mark.parametrize("status", [500, 503])
def test_server_errors_pass(hub_server: HubStandIn, download: Download, kind: str, status: int) -> None:
    hub_server.fail(kind, *[Fault(status=status)] * 2)
    data, lines = download()
    assert data == OLD
    assert sum(f"the hub answers {status}: trying again" in line for line in lines) == 2


def test_server_errors_that_do_not_pass(hub_server: HubStandIn, download: Download) -> None:
    hub_server.fail(RESOLVE, *[Fault(status=500)] * 100)
    with pytest.raises(UnreachableError, match="the hub answers 500"):
        download()
    assert len(hub_server.seen) == 5


def test_too_many_requests(hub_server: HubStandIn, download: Download) -> None:
    hub_server.fail(RESOLVE, Fault(status=429, headers={"Retry-After": "0.3"}))
    data, lines = download()
    assert data == OLD
    assert "the hub answers that there are too many requests (429): trying again in 0.3 s" in lines


def test_a_wait_that_is_too_long_is_not_waited(hub_server: HubStandIn, download: Download) -> None:
    hub_server.fail(RESOLVE, Fault(status=429, headers={"Retry-After": "86400"}))
    with pytest.raises(UnreachableError, match="come again in 86400 s"):
        download()


def test_waits_below_us_are_bounded_too(
    hub_server: HubStandIn, download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions of huggingface_hub that wait by themselves when the bytes are refused are ended."""
    monkeypatch.setattr(client, "SILENT_S", 1.5)
    hub_server.fail(CONTENT, *[Fault(status=429, headers={"Retry-After": "86400"})] * 100)
    with pytest.raises(UnreachableError, match=r"nothing came for 2 s|come again in 86400 s"):
        download()


def test_a_changed_etag_begins_again(hub_server: HubStandIn, download: Download) -> None:
    hub_server.has_lfs_etags = False
    hub_server.fail(CONTENT, Fault(cut_after=2 * CHUNK, then=[(FILE, NEW)]), Fault(status=503))
    data, lines = download(NEW)
    assert data == NEW
    assert f"{FILE} has changed on the hub: starting from the beginning" in lines
    assert hub_server.kinds("content")[-1].range == ""


def test_another_content_under_the_same_etag_is_found_out(hub_server: HubStandIn, download: Download) -> None:
    """http_get() joins the halves of two contents. The digest reveals it, and the second attempt starts from the beginning."""
    hub_server.fixed_etag = "same"
    hub_server.fail(CONTENT, Fault(cut_after=2 * CHUNK, then=[(FILE, NEW)]))
    data, lines = download(NEW)
    assert data == NEW
    assert any(
        f"wrong sha256, {sha256(OLD[: 2 * CHUNK] + NEW[2 * CHUNK :])}: fetching it once" in line for line in lines
    )


def test_a_change_while_no_digest_is_known(hub_server: HubStandIn, download: Download) -> None:
    hub_server.has_lfs_etags = False
    hub_server.fail(CONTENT, Fault(cut_after=2 * CHUNK, then=[(FILE, NEW)]))
    data, lines = download(None)
    assert data == NEW
    assert any("changed on the hub" in line for line in lines)


def test_a_wrong_digest_is_tried_twice(hub_server: HubStandIn, download: Download) -> None:
    hub_server.has_lfs_etags = False
    with pytest.raises(SourceError, match=f"wrong sha256, {sha256(OLD)}: it is not the file we know"):
        download(NEW)
    assert len(hub_server.kinds("content")) == 2


@pytest.mark.parametrize("data", [NEW, OLD + b"x"], ids=["digest", "size"])
def test_another_file_is_known_before_it_comes(hub_server: HubStandIn, download: Download, data: bytes) -> None:
    hub_server.has_lfs_etags = len(data) == len(OLD)
    with pytest.raises(SourceError, match=r"m\.gguf has .*, not "):
        download(data)
    assert hub_server.kinds("content") == []


def test_what_a_repository_holds(hub_server: HubStandIn) -> None:
    hub_server.fail(API, Fault(status=502))
    python = sys.executable
    listing = client.list_files("owner/name", "main", python=python, notify=lambda _: None)
    assert listing.commit == COMMIT
    assert [(each.path, each.size_bytes, each.sha256) for each in listing.files] == [(FILE, len(OLD), sha256(OLD))]


def test_a_python_that_lacks_the_client(
    hub_server: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "huggingface_hub.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SourceError, match="huggingface_hub cannot be imported: broken"):
        client.list_files("owner/name", "", python=sys.executable, notify=lambda _: None)


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({}, ""),
        ({"HF_HUB_OFFLINE": "0"}, ""),
        ({"HF_HUB_OFFLINE": "yes"}, "HF_HUB_OFFLINE"),
        ({"TRANSFORMERS_OFFLINE": "1"}, "TRANSFORMERS_OFFLINE"),
    ],
)
def test_who_forbids_the_network(environ: dict[str, str], variable: str) -> None:
    assert client.offline_variable(environ) == variable


def test_without_a_home_the_hubs_client_gets_a_private_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would use a folder `~` below the working directory, and a token in it."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    told = {"TMPDIR": str(tmp_path)}
    assert client.home_environ(told) == {"HF_HOME": str(tmp_path / f"llmcore-{os.geteuid()}")}
    assert client.home_environ({**told, "HOME": "/h"}) == {}
    assert client.home_environ({**told, "HF_HOME": "/hf"}) == {}
