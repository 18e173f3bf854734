"""The overload benchmark: its callers against a server of a few lines, and all of it on the real service with a tiny model."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import overload
from benchmarks.crowd import Crowd, Visit
from benchmarks.load import LoadError
from benchmarks.overload import crowd_result
from benchmarks.prompts import Prompts
from benchmarks.servers import Ours, Setting
from llmcore.llama.model import Model

REFUSAL = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}"


class Serving:
    """Answers each connection with the next of `replies`, in pieces; the last one again and again."""

    def __init__(self, *replies: list[bytes]) -> None:
        self._replies = replies
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._sock.getsockname()
        return host, port

    def _run(self) -> None:
        while True:
            connection, _ = self._sock.accept()
            with connection:
                request = connection.recv(65536)
                if request == b"end":
                    return
                self.requests.append(request)
                for piece in self._replies[min(len(self.requests), len(self._replies)) - 1]:
                    connection.sendall(piece)

    def close(self) -> None:
        with socket.create_connection(self.address) as sock:
            sock.sendall(b"end")
        self._thread.join(30)
        self._sock.close()


@pytest.fixture
def refusing() -> Iterator[Serving]:
    serving = Serving([REFUSAL])
    yield serving
    serving.close()


def test_callers_come_at_their_times_and_probes_meanwhile(refusing: Serving) -> None:
    visits, probes = [Visit(b"ask %d" % i) for i in range(20)], [Visit(b"probe") for _ in range(50)]
    crowd = Crowd(*refusing.address)
    crowd.run(visits, [0.01] * 20, probes, 0.05)
    crowd.close()
    assert [visit.status for visit in visits] == ["429"] * 20
    assert visits[-1].asked_s - visits[0].asked_s >= 0.15
    n_probed = sum(probe.asked_s > 0 for probe in probes)
    assert 1 <= n_probed <= 5, "none after the last caller has come"
    assert sorted(refusing.requests) == sorted([*(b"ask %d" % i for i in range(20)), *[b"probe"] * n_probed])


def test_who_is_told_what() -> None:
    serving = Serving([REFUSAL], [REFUSAL.replace(b"Retry-After: 3\r\n", b"")], [b"HTTP/1.1 200 ", b"OK\r\n\r\n"], [])
    visits, probe = [Visit(b"ask") for _ in range(4)], Visit(b"probe")
    crowd = Crowd(*serving.address)
    for visit in visits:
        crowd.run([visit], [0.0], [], 1.0)
    crowd.close()
    assert visits[0].header("retry-after") == "3"
    assert visits[1].header("retry-after") is None
    with pytest.raises(LoadError):
        visits[2].answer()
    serving.close()
    found = crowd_result([visits[0], visits[1], visits[3]], [probe], overload.Share(0, 0, 0))
    assert (found.answers, found.refused) == ([], [visits[0]])
    assert found.others == {"429": 1, "no answer": 1, "probe: ": 1}


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
    visit = Visit(b"ask")
    crowd = Crowd(*address)
    crowd.run([visit], [0.0], [], 1.0)
    crowd.close()
    assert "refused" in visit.error
    assert visit.status == ""


def test_the_whole_benchmark_on_our_service(tiny_model: Path) -> None:
    setting = Setting(tiny_model, 1, overload.N_SLOTS, overload.N_SLOT_CELLS)
    with (
        Model(tiny_model, vocab_only=True) as model,
        Ours(("--n-waiting-max", str(overload.N_CALLERS))).start(setting) as service,
    ):
        found = overload.measure(service, Prompts(model), 0.5, 3.0)
    assert len(found) == 9
    assert found[1].met == "met", "every arrival is answered, or refused with a word on when to come back"
    assert "worker" in found[-1].value
    assert "| gap between tokens, p95 |" in overload.markdown(found, "tiny", 1)
