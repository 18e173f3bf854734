"""Pulling from repositories by reference, with the real client and a stand-in of the hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from llmcore.errors import ConfigError, DownloadError
from llmcore.hub import repository
from llmcore.hub.provenance import Provenance
from llmcore.hub.reference import at_revision, parse_reference
from tests.hub_stand_in import API, COMMIT, Fault, HubStandIn, connect, running, sha256

SMALL, LARGE = b"GGUF small", b"GGUF large" * 10
PARTS = ("m-F16-00001-of-00002.gguf", "m-F16-00002-of-00002.gguf")
Pull = Callable[..., tuple[Path, list[str]]]


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStandIn]:
    files = {"m-Q4_K_M.gguf": SMALL, "m-Q8_0.gguf": LARGE, "README.md": b"#", f"f16/{PARTS[0]}": SMALL}
    with running(HubStandIn({**files, f"f16/{PARTS[1]}": LARGE}, branches=("main", "v1"))) as stand_in:
        connect(stand_in, monkeypatch, tmp_path)
        yield stand_in


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def pull(hub_server: HubStandIn, models: Path) -> Pull:
    def pulling(text: str = "owner/name", revision: str = "") -> tuple[Path, list[str]]:
        lines: list[str] = []
        reference = parse_reference(text, hub_server.address)
        assert reference is not None
        reference = at_revision(reference, revision) if revision else reference
        path = repository.pull_reference(reference, models, progress=lambda *_: None, notify=lines.append)
        return path, lines

    return pulling


def record_of(path: Path) -> Provenance:
    return msgspec.json.decode(path.with_name(path.name + ".source.json").read_bytes(), type=Provenance)


def test_a_repository(hub_server: HubStandIn, models: Path, pull: Pull) -> None:
    path, _ = pull()
    assert path == models / "owner" / "name" / "m-Q4_K_M.gguf"
    assert path.read_bytes() == SMALL
    assert record_of(path) == Provenance("owner/name", COMMIT, "m-Q4_K_M.gguf", len(SMALL), sha256(SMALL))
    assert all(COMMIT in seen.path for seen in hub_server.kinds("resolve")), "one commit, resolved once"
    _, lines = pull()
    assert lines == ["owner/name/m-Q4_K_M.gguf is already there"]
    assert len(hub_server.kinds("content")) == 1


def test_a_quantization_a_url_and_a_branch(hub_server: HubStandIn, pull: Pull) -> None:
    assert pull("owner/name:q8_0")[0].read_bytes() == LARGE
    path, lines = pull(f"{hub_server.address}/owner/name/blob/v1/m-Q8_0.gguf")
    assert lines == ["owner/name/m-Q8_0.gguf is already there"]
    assert record_of(path).asked == "v1"


def test_all_parts_of_a_split_model(models: Path, pull: Pull) -> None:
    path, _ = pull("owner/name:F16")
    assert path == models / "owner" / "name" / "f16" / PARTS[0]
    assert [path.with_name(part).read_bytes() for part in PARTS] == [SMALL, LARGE]


def test_the_space_for_all_parts_is_asked_for_first(hub_server: HubStandIn, models: Path, pull: Pull) -> None:
    hub_server.listed_size = 2**60
    with pytest.raises(DownloadError, match="MB of free space and owner/name:F16 needs"):
        pull("owner/name:F16")
    assert hub_server.kinds("content") == []


def test_what_there_is_not(pull: Pull) -> None:
    with pytest.raises(ConfigError, match=r"has no Q2_K; .*m-Q4_K_M\.gguf, m-Q8_0\.gguf"):
        pull("owner/name:Q2_K")
    with pytest.raises(DownloadError, match="owner/name has no revision 'v2'"):
        pull(revision="v2")
    with pytest.raises(DownloadError, match=r"there is no owner/other, or it is private: .*HF_TOKEN"):
        pull("owner/other")


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (403, {"X-Error-Code": "GatedRepo"}, "owner/name is gated: accept its terms on its page, and set HF_TOKEN"),
        (403, {}, "the hub refuses owner/name: check HF_TOKEN"),
        (429, {"Retry-After": "3600"}, r"too many requests \(429\); it asks to come again in 3600 s"),
    ],
)
def test_refusals(
    hub_server: HubStandIn, models: Path, pull: Pull, status: int, headers: dict[str, str], said: str
) -> None:
    hub_server.fail(API, Fault(status=status, headers=headers))
    with pytest.raises(DownloadError, match=said):
        pull()
    assert len(hub_server.seen) == 1, "asked once"
    assert not models.exists()


def test_the_token_goes_to_the_hub_alone_and_into_no_message(
    hub_server: HubStandIn, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    headers = {"X-Error-Message": "the token hf_secret is too old"}
    hub_server.fail(API, Fault(status=403, headers=headers))
    with pytest.raises(DownloadError) as caught:
        pull()
    assert "hf_secret" not in caught.value.message
    _, lines = pull()
    assert "hf_secret" not in "".join(lines)
    assert {seen.authorization for seen in hub_server.kinds("resolve")} == {"Bearer hf_secret"}
    assert {seen.authorization for seen in hub_server.kinds("content")} == {""}


def test_a_commit_that_is_here_needs_no_hub(hub_server: HubStandIn, pull: Pull) -> None:
    pull("owner/name:Q8_0", revision=COMMIT)
    n_requests = len(hub_server.seen)
    pull(f"owner/name/m-Q8_0.gguf@{COMMIT}")
    assert len(hub_server.seen) == n_requests


def test_without_the_hub_what_is_here_is_taken(
    hub_server: HubStandIn, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = pull()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    n_requests = len(hub_server.seen)
    again, lines = pull()
    assert again == path
    assert lines[0] == f"cannot ask the hub (HF_HUB_OFFLINE is set): taking m-Q4_K_M.gguf of {COMMIT}, which is here"
    with pytest.raises(DownloadError, match="cannot fetch owner/name:Q8_0: HF_HUB_OFFLINE is set"):
        pull("owner/name:Q8_0")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        pull(revision="v1")  # it may be another commit
    assert len(hub_server.seen) == n_requests
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    reference = parse_reference("owner/name", hub_server.address)
    assert reference is not None
    lines = []
    found = repository.pull_reference(
        reference, path.parent.parent.parent, progress=lambda *_: None, notify=lines.append
    )
    assert found == path
    assert any("taking m-Q4_K_M.gguf" in line for line in lines)


def test_another_file_on_the_branch_does_not_replace_ours(hub_server: HubStandIn, pull: Pull) -> None:
    path, _ = pull()
    hub_server.files["m-Q4_K_M.gguf"] = SMALL[::-1]
    hub_server.commit = "d" * 40
    with pytest.raises(DownloadError, match=r"wrong sha256.*move it away"):
        pull()
    assert path.read_bytes() == SMALL


def test_a_new_commit_with_the_same_file_is_recorded(hub_server: HubStandIn, pull: Pull) -> None:
    path, _ = pull()
    hub_server.commit = "d" * 40
    pull()
    assert record_of(path).revision == "d" * 40
    assert len(hub_server.kinds("content")) == 1


def test_a_folder_that_may_only_be_read(models: Path, pull: Pull) -> None:
    path, _ = pull()
    if os.geteuid() == 0:
        models.rename(models.with_name("elsewhere"))
        models.write_text("in the way")
        with pytest.raises(DownloadError, match=r"cannot write to .*: Not a directory\. Set MODEL_DIR"):
            pull()
        return
    path.parent.chmod(0o500)
    assert pull()[0] == path
    with pytest.raises(DownloadError, match=r"cannot write to .*: Permission denied\. Set MODEL_DIR"):
        pull("owner/name:Q8_0")


def test_a_reference_is_found_among_what_was_pulled_without_the_network(
    pull: Pull, models: Path, hub_server: HubStandIn
) -> None:
    def found(text: str) -> Path | None:
        reference = parse_reference(text, hub_server.address)
        assert reference is not None
        return repository.find_reference(reference, models)

    assert found("owner/name:Q8_0") is None
    path, _ = pull("owner/name:Q8_0")
    n_seen = len(hub_server.seen)
    assert found("owner/name:Q8_0") == found("owner/name/m-Q8_0.gguf") == path
    assert found("owner/name:Q4_K_M") is None
    assert found(f"owner/name:Q8_0@{'0' * 40}") is None
    assert len(hub_server.seen) == n_seen
