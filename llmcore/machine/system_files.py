"""Files of the kernel below /proc and /sys."""

from __future__ import annotations

from pathlib import Path


def read_system_file(path: Path) -> str:
    """Returns the text of a file without surrounding white space; "" if it is missing or cannot be read. Never raises OSError."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
