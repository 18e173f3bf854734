"""Records of the provenance of model files."""

from __future__ import annotations

from pathlib import Path

from llmcore.hub import provenance
from llmcore.hub.provenance import Provenance


def placed(path: Path) -> Provenance:
    """A model file of four bytes with its record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF")
    record = Provenance("a/b", "1" * 40, path.name, 4, "0" * 64, "main")
    provenance.write(path, record)
    return record


def test_what_was_written_is_found_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "x.gguf", tmp_path / "b.gguf"]
    records = [placed(path) for path in paths]
    assert list(provenance.below(tmp_path)) == list(zip(paths, records, strict=True))


def test_records_without_their_file_are_passed_over(tmp_path: Path) -> None:
    for name in ("gone.gguf", "grown.gguf", "broken.gguf", "good.gguf"):
        placed(tmp_path / name)
    (tmp_path / "gone.gguf").unlink()
    (tmp_path / "grown.gguf").write_bytes(b"GGUF!")
    (tmp_path / "broken.gguf.source.json").write_bytes(b"\xff")
    assert [path.name for path, _ in provenance.below(tmp_path)] == ["good.gguf"]
    assert list(provenance.below(tmp_path / "nowhere")) == []


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    provenance.write(tmp_path / "nowhere" / "m.gguf", Provenance("a/b", "", "m.gguf", 4, ""))
    assert list(tmp_path.iterdir()) == []
