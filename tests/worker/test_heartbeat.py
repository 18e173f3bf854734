"""The memory that tells that a worker is alive, and for whom it works."""

from __future__ import annotations

import os

from llmcore.worker.heartbeat import LOADING_S, Heartbeat


def pair() -> tuple[Heartbeat, Heartbeat]:
    """A client's and its worker's."""
    client = Heartbeat()
    return client, Heartbeat(os.dup(client.fd))


def test_a_beat_is_felt_on_the_other_side() -> None:
    client, worker = pair()
    assert client.read().allowance_s == LOADING_S, "nobody knows how long the process takes to begin"
    worker.beat(2.5)
    first = client.read()
    assert first.allowance_s == 2.5
    worker.beat()
    assert client.read().n > first.n
    assert client.read().allowance_s == 0.0
    for each in (client, worker, client):
        each.close()


def test_whom_it_served_can_be_read_when_it_is_gone() -> None:
    client, worker = pair()
    assert client.ids_in_work() == set()
    worker.set_step_ids(("a", "b", 7))
    worker.set_preparing_ids(("ü\n",))
    worker.close()
    assert client.ids_in_work() == {"a", "b", 7, "ü\n"}
    client.close()


def test_nobody_is_blamed_by_what_is_half_written_or_too_long() -> None:
    client, worker = pair()
    worker.set_step_ids(("a" * 100_000,))
    assert client.ids_in_work() == set()
    worker.set_step_ids(("abc",))
    client._memory[64:68] = (3).to_bytes(4, "little")
    assert client.ids_in_work() == set()
    client._memory[64:68] = (2**32 - 1).to_bytes(4, "little")
    assert client.ids_in_work() == set()
    worker.set_step_ids(())
    assert client.ids_in_work() == set()
    client.close()
    worker.close()


def test_why_it_ended_can_be_read_when_it_is_gone() -> None:
    client, worker = pair()
    assert client.cause() == ""
    worker.set_cause("first")
    worker.set_cause("an abort: \udcff ü")
    assert client.cause() == "an abort: \\udcff ü"
    worker.set_cause("ü" * 10_000)
    worker.close()
    assert client.cause().startswith("üüü")
    assert client.ids_in_work() == set()
    client.close()
