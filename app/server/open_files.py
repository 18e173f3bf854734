"""Open files of this process, and their limit (RLIMIT_NOFILE)."""

from __future__ import annotations

import os
import resource

# The highest limit that is set by default: some programs close every possible descriptor one by one.
N_FILES_MAX = 2**20


def raise_open_files_limit(n_wanted: int) -> int:
    """Raises the soft limit to the hard one, but to no more than N_FILES_MAX or `n_wanted`. Returns the limit in effect."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(N_FILES_MAX, n_wanted)
    if soft == resource.RLIM_INFINITY:
        return most
    target = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft < target:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        except (OSError, ValueError):  # forbidden in some sandboxes
            return soft
        soft = target
    return soft


def count_open_files(default: int) -> int:
    """Returns the number of open files; `default` if /proc is not readable."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return default
