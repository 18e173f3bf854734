"""The user's folders: where models and measurements lie unless an option names another place.

The cache folder is `llmcore` in XDG_CACHE_HOME, else in .cache of HOME, else of the home folder in the user database. A relative
path counts as absent. In a container with an unknown user there is none of these: then a private folder below TMPDIR, /tmp or
/var/tmp serves, which lasts as long as the container. It is used only if nobody else can write to it.
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
    """llmcore's folder in the user's cache, which need not exist; without a home the temporary one, which does. None where
    there is neither."""
    return named_cache_folder(environ) or temporary_folder(environ)


def named_cache_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder that lasts, or None if nothing names it."""
    cache = environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache):
        return Path(cache) / "llmcore"
    home = environ.get("HOME", "")
    if not os.path.isabs(home):
        home = _home_of_database()
    return Path(home) / ".cache" / "llmcore" if os.path.isabs(home) else None


def temporary_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """`llmcore-UID` in a folder for temporary files, made if need be. None where it cannot be had, or is not ours alone."""
    for parent in (environ.get("TMPDIR", ""), *_TEMPORARY):
        path = Path(parent, f"llmcore-{os.geteuid()}")
        if os.path.isabs(parent) and _is_private(path):
            return path
    return None


def can_have(folder: Path) -> bool:
    """Whether a folder is there, or could be made."""
    while not os.path.lexists(folder):
        if folder == folder.parent:
            return False
        folder = folder.parent
        if os.path.lexists(folder):
            return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return folder.is_dir()


def expanded(path: str | Path, option: str) -> Path:
    """The path with a user's home in place of `~` or `~NAME`. Raises ConfigError, naming the option, where it has none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{option}: {path}: there is no such home folder", param=option) from None


def _home_of_database() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _is_private(path: Path) -> bool:
    """Makes it if it is not there. A link, or a folder of somebody else, may be a trap."""
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
