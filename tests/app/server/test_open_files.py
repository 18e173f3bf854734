"""The limit of open files, and their number."""

from __future__ import annotations

import os
import resource

from llmcore_app.server import open_files


def test_the_limit_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        raised = open_files.raise_open_files_limit(100)
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised == (
            open_files.N_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, open_files.N_FILES_MAX)
        )
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_open_files_are_counted() -> None:
    before = open_files.count_open_files(-1)
    fd = os.open(os.devnull, os.O_RDONLY)
    try:
        assert open_files.count_open_files(-1) == before + 1
    finally:
        os.close(fd)
