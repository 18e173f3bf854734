"""The user's folders for models and measurements, unless an option names another place.

The cache folder is `llmcore` in XDG_CACHE_HOME, else in .cache of HOME, else in .cache of the home folder in the user database;
relative paths are ignored. In a container with an unknown user there may be none of these. Then a private folder in TMPDIR, /tmp
or /var/tmp is used, which lasts as long as the container; only if no other user can write to it.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path

from llmcore.errors import ConfigError

_TEMPORARY = ("/tmp", "/var/tmp")


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Returns llmcore's folder in the user's cache, which may not exist yet; without a home, the temporary folder, which exists.
    None if there is neither."""
    return named_cache_folder(environ) or temporary_folder(environ)


def named_cache_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Returns llmcore's folder in the user's cache, None if the environment and the user database name none."""
    cache = environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache):
        return Path(cache) / "llmcore"
    home = environ.get("HOME", "")
    if not os.path.isabs(home):
        home = _home_of_database()
    return Path(home) / ".cache" / "llmcore" if os.path.isabs(home) else None


def temporary_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Returns `llmcore-UID` in a folder for temporary files, and makes it if it is missing. None if it cannot be made, or is not
    private."""
    for parent in (environ.get("TMPDIR", ""), *_TEMPORARY):
        path = Path(parent, f"llmcore-{os.geteuid()}")
        if os.path.isabs(parent) and _make_private(path):
            return path
    return None


def can_have(folder: Path) -> bool:
    """Returns True if a folder exists or can be made. Makes nothing."""
    while not os.path.lexists(folder):
        if folder == folder.parent:
            return False
        folder = folder.parent
        if os.path.lexists(folder):
            return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return folder.is_dir()


def expanded(path: str | Path, option: str) -> Path:
    """Replaces `~` or `~NAME` by the user's home folder. Raises ConfigError, naming the option, if there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{option}: {path}: there is no such home folder", param=option) from None


def _home_of_database() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _make_private(path: Path) -> bool:
    """Makes the folder if it is missing. Returns False for a link or a folder of another user, which may be a trap."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError:
        return False
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
