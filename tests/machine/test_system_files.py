"""Files of the kernel: their text, or nothing."""

from __future__ import annotations

from pathlib import Path

from llmcore.machine.system_files import read_system_file


def test_text_without_white_space_around_it(tmp_path: Path) -> None:
    (tmp_path / "max").write_text(" 100000 100000\n")
    assert read_system_file(tmp_path / "max") == "100000 100000"
    (tmp_path / "odd").write_bytes(b"a\xffb\n")
    assert read_system_file(tmp_path / "odd") == "a\ufffdb"


def test_a_file_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert read_system_file(tmp_path / "none") == ""
    assert read_system_file(tmp_path) == "", "a folder"
    assert read_system_file(tmp_path / "none" / "deeper") == ""
