"""The folder of profiles: measurements of attention settings and step times, and those of `llmcore tune`."""

from __future__ import annotations

import os
from pathlib import Path

from llmcore.config import EngineConfig
from llmcore.machine.user_folders import can_have, named_cache_folder, temporary_folder


def profile_folder(config: EngineConfig) -> Path | None:
    """Returns the folder of profiles for a configuration, None if there is none to write to."""
    return Path(config.profile_dir) if config.profile_dir else default_profile_dir()


def default_profile_dir() -> Path | None:
    """Returns LLMCORE_PROFILE_DIR, else `profiles` in the user's cache folder, else (if that cannot be made) in a temporary
    folder; None if there is no temporary folder either."""
    named = os.environ.get("LLMCORE_PROFILE_DIR")
    if named:
        return Path(named)
    cache = named_cache_folder()
    if cache is None or not can_have(cache / "profiles"):
        cache = temporary_folder()
    return None if cache is None else cache / "profiles"


def is_temporary(folder: Path | None) -> bool:
    """True if the folder that default_profile_dir() returned is lost with the container or at the next restart of the machine."""
    named = named_cache_folder()
    return not os.environ.get("LLMCORE_PROFILE_DIR") and (named is None or folder != named / "profiles")
