"""Connections divided among the listeners."""

from __future__ import annotations

import resource

from hypothesis import given
from hypothesis import strategies as st

from llmcore_app.config import ServerConfig
from llmcore_app.server.connection_limits import (
    N_SPARE,
    ConnectionLimits,
    divide_connections,
    resolve_listener_limits,
)


def test_with_files_enough_every_listener_gets_what_was_asked_for() -> None:
    limits = divide_connections(10_000, 2048, 128, has_admin=True)
    assert (limits.main, limits.admin) == (ConnectionLimits(2048, 128), ConnectionLimits(32, 8))


@given(n_files=st.integers(-100, 5000), n_wanted=st.integers(1, 10**6), has_admin=st.booleans())
def test_no_more_is_given_than_there_is(n_files: int, n_wanted: int, has_admin: bool) -> None:
    limits = divide_connections(n_files, n_wanted, 128, has_admin=has_admin)
    given = [limits.main, limits.admin] if has_admin else [limits.main]
    assert all(each.n_max >= 1 and each.n_spare >= 1 for each in given)
    assert limits.main.n_max <= n_wanted
    # A process with hardly any files gets the least that works.
    assert sum(each.n_max + each.n_spare for each in given) <= max(n_files, 2 * len(given))


def test_open_files_limit_the_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        main = resolve_listener_limits(ServerConfig(n_connections_max=1_000_000)).main
        assert main.n_max <= resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert main.n_spare == N_SPARE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
