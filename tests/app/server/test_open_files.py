"""Files shared out among listeners."""

from __future__ import annotations

import resource

from hypothesis import given
from hypothesis import strategies as st

from llmcore_app.server import open_files
from llmcore_app.server.listener import Room


def test_the_limit_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        raised = open_files.raise_limit(100)
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised == (
            open_files.N_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, open_files.N_FILES_MAX)
        )
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_with_files_enough_everybody_gets_what_was_asked_for() -> None:
    rooms = open_files.divide_connections(10_000, 2048, 128, has_admin=True)
    assert (rooms.main, rooms.admin) == (Room(2048, 128), Room(32, 8))


@given(n_left=st.integers(-100, 5000), n_wanted=st.integers(1, 10**6), has_admin=st.booleans())
def test_no_more_is_given_than_there_is(n_left: int, n_wanted: int, has_admin: bool) -> None:
    rooms = open_files.divide_connections(n_left, n_wanted, 128, has_admin=has_admin)
    given = [rooms.main, rooms.admin] if has_admin else [rooms.main]
    assert all(room.n_max >= 1 and room.n_spare >= 1 for room in given)
    assert rooms.main.n_max <= n_wanted
    # A process with hardly any files gets the least that works.
    assert sum(room.n_max + room.n_spare for room in given) <= max(n_left, 2 * len(given))
