"""The benchmarks' own arithmetic, reading of streams and reports; and a run of two scenarios on the real service."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import attention, child, contention, overhead, quota, serve, servers, structured
from benchmarks.figures import Goal, Row, common_rate, percentile, silences
from benchmarks.load import Endpoint, LoadError, Prompt
from benchmarks.overhead import Measured, Subject, engine_finding, http_finding
from benchmarks.prompts import Prompts
from benchmarks.report import lines, markdown, replace_section, show, write_docs
from benchmarks.results import Failure, Results, Run, read_results
from benchmarks.scenarios import SCENARIOS, scaled
from benchmarks.serve import Plan, measure, plan_of
from benchmarks.servers import LlamaServer, Ours, Setting, Side, StartError
from benchmarks.sse import EventReader, StreamError, read_completion
from llmcore.llama.model import Model
from llmcore.machine.cgroup import ControlGroup
from llmcore.messages import EngineStats

# --- Figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("q", "expected"), [(0, 1.0), (50, 2.5), (95, 3.85), (100, 4.0)])
def test_percentile_interpolates(q: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], q) == pytest.approx(expected)


def test_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_silences_begin_with_the_last_event_before_and_end_with_the_window() -> None:
    assert silences([1.0, 2.0, 5.0, 6.0, 9.0], 3.0, 8.0) == [3.0, 1.0, 2.0]


def test_silence_of_a_stream_that_says_nothing_lasts_the_window() -> None:
    assert silences([], 3.0, 8.0) == [5.0]
    assert silences([2.5], 3.0, 8.0) == [5.5]


def test_common_rate_counts_while_all_are_talking() -> None:
    # Both talk from 2 to 4: events at 3 and 4 of the first, 2.5, 3.5 and 4 of the second.
    assert common_rate([[1.0, 2.0, 3.0, 4.0], [2.0, 2.5, 3.5, 4.0, 5.0]]) == pytest.approx(5 / 2)
    with pytest.raises(ValueError, match="overlap"):
        common_rate([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("row", "ours", "peer", "is_met", "text"),
    [
        (Row("x", "x", "s", Goal(0.2)), 2.0, 10.0, True, "at most 0.2 × the peer’s"),
        (Row("x", "x", "s", Goal(0.2)), 2.1, 10.0, False, "at most 0.2 × the peer’s"),
        (Row("x", "x", "tok/s", Goal(1.15)), 11.5, 10.0, True, "at least 1.15 × the peer’s"),
        (Row("x", "x", "tok/s", Goal(1.15)), 11.4, 10.0, False, "at least 1.15 × the peer’s"),
        (Row("x", "x", "s", Goal(0.3, of_peer=False)), 0.2, None, True, "at most 0.3 s"),
        (Row("x", "x", "s", Goal(0.3, of_peer=False)), 0.4, 7.0, False, "at most 0.3 s"),
        (Row("x", "x", "s", Goal(1)), 1.0, 1.0, True, "not worse"),
        (Row("x", "x", "s", Goal(1)), 1.0, None, None, "not worse"),
        (Row("x", "x", "s", Goal(1)), None, 1.0, None, "not worse"),
        (Row("x", "x", "s"), 1.0, 1.0, None, "–"),
    ],
)
def test_goals(row: Row, ours: float | None, peer: float | None, is_met: bool | None, text: str) -> None:
    assert row.is_met(ours, peer) is is_met
    assert row.goal_text == text


# --- Streams ----------------------------------------------------------------------------------------------------------


def event(text: str = "", reason: str | None = None, **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"text": text, "finish_reason": reason}], **more}).encode() + b"\n\n"


USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
EVENTS = event(" é") + event() + event(" b") + event("", "length", usage=USAGE) + b"data: [DONE]\n\n"


def chunked(data: bytes, size: int) -> bytes:
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


@pytest.mark.parametrize("piece", [1, 7, 100_000])
@pytest.mark.parametrize("chunk", [5, 100_000])
def test_a_stream_may_be_cut_anywhere(piece: int, chunk: int) -> None:
    reply = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(EVENTS, chunk)
    arrivals = [(float(i), reply[i : i + piece]) for i in range(0, len(reply), piece)]
    read = read_completion(arrivals)
    assert (read.text, read.reason) == (" é b", "length")
    assert (read.n_prompt, read.n_cached, read.n_answer) == (7, 3, 2)
    assert len(read.times_s) == 2, "an event without text is none"
    if piece == 1:
        assert read.times_s[1] - read.times_s[0] >= len(event()), "an event arrives with its last byte"


def test_a_stream_without_chunks_and_a_usage_of_its_own() -> None:
    usage = b'data: {"choices": [], "usage": ' + json.dumps(USAGE).encode() + b"}\r\n\r\n"
    read = read_completion([(1.0, HEAD + b"\r\n"), (2.0, event(" a", "stop")), (3.0, usage)])
    assert (read.times_s, read.n_answer, read.reason) == ([2.0], 2, "stop")


def test_comments_and_other_fields_are_no_events() -> None:
    assert EventReader().feed(b': ping\n\nid: 4\nevent: x\ndata: {"a": 1}\n\nretry: 5\n') == [{"a": 1}]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"", "closed without a reply"),
        (b"SSH-2.0-x\r\n\r\n\r\n", "not an HTTP reply: SSH-2.0-x"),
        (HEAD + b"\r\n" + event(" a"), "the stream ended early, after 1 events"),
        (HEAD + b"\r\n" + event(" a", "stop"), "no usage"),
        (HEAD + b"\r\n" + event(" a") + b'data: {"error": {"message": "worker\\ndied"}}\n\n', "an error: worker died"),
        (HEAD + b"\r\n" + b'error: {"message": "no room"}\n\n', "an error: no room"),
        (HEAD + b"\r\n" + b"data: {half\n\n", "an event is not JSON: {half"),
        (HEAD + b"\r\n" + b"data: 3\n\n", "not a JSON object: 3"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "not a chunk's size: xyz"),
        (b'HTTP/1.1 429 Too Many\r\n\r\n{"error": {"message": "come later"}}', "HTTP 429: come later"),
        (b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b'{"error": "no"}', 4), "HTTP 400: no"),
        (b"HTTP/1.1 502 Bad\r\n\r\n" + b"<p>" * 200, r"HTTP 502: (<p>)+<?p?… \(600 bytes\)"),
    ],
)
def test_what_is_no_complete_answer(reply: bytes, message: str) -> None:
    with pytest.raises(StreamError, match=message) as caught:
        read_completion([(1.0, reply)] if reply else [])
    assert "\n" not in str(caught.value)


def test_a_caller_who_hung_up_keeps_what_came() -> None:
    assert read_completion([], is_whole=False).times_s == []
    assert read_completion([(1.0, HEAD + b"\r\n" + event(" a"))], is_whole=False).times_s == [1.0]


# --- Callers ----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def canned(reply: bytes, *, stays_open: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives everybody the same reply; its URL, and what it was sent."""
    requests: list[bytes] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n") + await reader.read(65536))
        writer.write(reply)
        await writer.drain()
        if stays_open:
            await reader.read()  # until the other side closes
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", requests


async def test_a_request_as_it_is_sent() -> None:
    async with canned(HEAD + b"\r\n" + EVENTS) as (url, requests):
        answer = await Endpoint(url, {5: 100.0}).ask(Prompt("hello", 7), 2)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/completions HTTP/1.1\r\n")
    assert json.loads(body) == {
        "prompt": "hello",
        "max_tokens": 2,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "logit_bias": {"5": 100.0},
    }
    assert (answer.text, answer.n_cached) == (" é b", 3)
    assert answer.asked_s < answer.times_s[0]


async def test_a_connection_that_stays_open_ends_with_the_reply() -> None:
    reply = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(EVENTS, 1000)
    async with canned(reply, stays_open=True) as (url, _):
        assert (await Endpoint(f"{url}v1").ask(Prompt("hello", 7), 2)).n_answer == 2


@pytest.mark.parametrize(
    ("prompt", "n_answer", "message"),
    [(Prompt("hello", 8), 2, "8 tokens was counted as 7"), (Prompt("hello", 7), 3, "2 tokens instead of 3")],
)
async def test_another_length_than_expected_is_an_error(prompt: Prompt, n_answer: int, message: str) -> None:
    async with canned(HEAD + b"\r\n" + EVENTS) as (url, _):
        with pytest.raises(LoadError, match=message):
            await Endpoint(url).ask(prompt, n_answer)


async def test_nobody_listens() -> None:
    async with canned(b"") as (url, _):
        pass
    with pytest.raises(LoadError, match="cannot connect"):
        await Endpoint(url).ask(Prompt("hello", 7), 2)
    with pytest.raises(LoadError, match="/v1/models"):
        await Endpoint(url).connect()
    with pytest.raises(LoadError, match="not an http or https URL: ftp"):
        Endpoint("ftp://example")


# --- Prompts ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def prompts(tiny_model: Path) -> Iterator[Prompts]:
    with Model(tiny_model, vocab_only=True) as model:
        yield Prompts(model)


def test_prompts_have_exactly_so_many_tokens(prompts: Prompts) -> None:
    made = prompts.make(300, "salt")
    assert prompts.count(made.text) == made.n_tokens == 300
    assert made == prompts.make(300, "salt")
    assert made.text[:20] != prompts.make(300, "pepper").text[:20]
    more = prompts.extend(made, 30, 1)
    assert more.text.startswith(made.text)
    assert prompts.count(more.text) == more.n_tokens == 330


def test_an_answer_is_as_many_tokens_in_the_next_prompt(prompts: Prompts) -> None:
    asked = prompts.make(50, "x")
    assert prompts.with_answer(asked, 20).n_tokens == 70


# --- Reports ----------------------------------------------------------------------------------------------------------


def run_of(scenario: str, side: str, turn: int, **figures: float) -> Run:
    return Run(scenario, side, turn, "m.gguf", 8, 2048, [], 1.0, 0.01, figures, [])


@pytest.fixture
def results() -> Results:
    found = Results("a machine", 2, 1.0, ["ours", "llama-server"], date="2026-11-24")
    for turn, value in enumerate((20.0, 24.0, 30.0)):
        found.runs.append(run_of("short8", "ours", turn, output_tps=value))
    found.runs.append(run_of("short8", "llama-server", 0, output_tps=30.0))
    found.runs.append(run_of("hangup", "ours", 0, ttft_s=0.25))
    found.failures.append(Failure("hangup", "llama-server", "HTTP 500: no"))
    return found


def test_medians_ratios_and_verdicts(results: Results) -> None:
    hangup, short8 = sorted(lines(results), key=lambda line: line.row.unit)
    assert (short8.ours, short8.peer, short8.ratio, short8.verdict) == (24.0, 30.0, "0.80", "not met")
    assert (hangup.ours, hangup.peer, hangup.ratio, hangup.verdict) == (0.25, None, "–", "met")


def test_markdown(results: Results) -> None:
    text = markdown(results)
    assert text.startswith(
        "a machine, 2 threads, 2026-11-24. Models: m.gguf.\n\n| scenario | measured | turns | ours |"
    )
    row = "| 8 callers at once, short distinct prompts | output | 3 | 24 tok/s | 30 tok/s | 0.80 | at least 1.15 ×"
    assert row in text
    assert "| **not met** |" in text
    assert text.endswith("Failed:\n\n- scenario hangup, llama-server: HTTP 500: no")
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_one_side_alone_has_no_ratio(results: Results) -> None:
    results.sides = ["ours"]
    assert "ratio" not in markdown(results)
    results.scale = 0.1
    assert "no measurement" in markdown(results)


def test_terminal(results: Results) -> None:
    console = Console(width=150, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        show(results, console)
    text = console.export_text()
    assert "llama-server 30 tok/s" in text
    assert "█" in text
    assert "FAILED scenario hangup, llama-server: HTTP 500: no" in text


def test_replace_section_touches_nothing_else() -> None:
    before = "a\n<!-- serve:begin -->\nold\n<!-- serve:end -->\nb\n"
    once = replace_section(before, "serve", "new\n")
    assert once == "a\n<!-- serve:begin -->\n\nnew\n\n<!-- serve:end -->\nb\n"
    assert replace_section(once, "serve", "new") == once


@pytest.mark.parametrize("text", ["", "<!-- serve:begin -->", "<!-- serve:end --> <!-- serve:begin -->"])
def test_replace_section_needs_its_marks(text: str) -> None:
    with pytest.raises(ValueError, match="serve:begin"):
        replace_section(text, "serve", "new")


def test_the_document_has_both_sections(results: Results, tmp_path: Path) -> None:
    docs = tmp_path / "BENCHMARKS.md"
    docs.write_text(Path(__file__).parents[2].joinpath("docs", "BENCHMARKS.md").read_text("utf-8"), "utf-8")
    write_docs(results, docs)
    assert "24 tok/s" in docs.read_text("utf-8")
    assert replace_section(docs.read_text("utf-8"), overhead.SECTION, "x")
    assert replace_section(docs.read_text("utf-8"), child.SECTION, "x")


def test_results_of_several_files_are_one(results: Results, tmp_path: Path) -> None:
    paths = [tmp_path / "deep" / "a.json", tmp_path / "b.json"]
    peer = Results("a machine", 2, 1.0, ["llama-server"], runs=[run_of("deep", "llama-server", 0, decode_tps=9.0)])
    peer.write(paths[0])
    results.write(paths[1])
    merged = read_results(paths)
    assert merged.sides == ["ours", "llama-server"]
    assert len(merged.runs) == len(results.runs) + 1
    Results("another", 2, 1.0, ["ours"]).write(paths[0])
    with pytest.raises(ValueError, match="another machine"):
        read_results(paths)


def test_findings_about_overhead() -> None:
    subject = Subject(Path("m.gguf"), 64, 0.05, None)
    inside = [Measured(100.0, 0.04), Measured(90.0, 0.06), Measured(110.0, 0.03)]
    assert (engine_finding(subject, inside).measured, engine_finding(subject, inside).verdict) == ("4.00%", "met")
    assert engine_finding(subject, [Measured(100.0)]).measured == "not counted"
    assert http_finding(subject, inside, [Measured(95.0)]).verdict == "met"
    assert http_finding(subject, inside, [Measured(89.0)]).verdict == "not met"
    limited = Subject(Path("m.gguf"), 64, 0.05, 0.1)
    assert http_finding(limited, inside, [Measured(91.0)]).verdict == "met"
    assert http_finding(limited, inside, [Measured(89.0)]).verdict == "not met"


def test_findings_about_the_child(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limited = child.Subject(Path("m.gguf"), 64, 0.03)
    assert child.finding(limited, [100.0, 102.0, 90.0], [98.0]).verdict == "met"
    assert child.finding(limited, [100.0], [96.0]).verdict == "not met"
    unmeasured = child.Subject(Path("m.gguf"), 64, None)
    assert child.finding(unmeasured, [100.0, 90.0], [91.0]).verdict == "met"
    assert child.finding(unmeasured, [100.0, 90.0], [89.0]).verdict == "not met"
    found = [child.finding(limited, [100.0], [96.0])]
    assert "| m | 100.0 tok/s (100.0 to 100.0) |" in child.markdown(found, 2, 1)
    assert child.main(["--models", str(tiny_model), "--turns", "1", "--scale", "0.2"]) == 0
    assert "in a child" in capsys.readouterr().out


def test_time_outside_of_native_calls() -> None:
    zeros: dict[str, Any] = {name: 0 for name in EngineStats.__struct_fields__ if name.startswith("n_")}
    first, last = (EngineStats(**zeros, step_s=step_s, native_s=native_s) for step_s, native_s in ((1, 0.9), (3, 2.8)))
    assert overhead.part_outside(first, last) == pytest.approx(0.05)
    assert overhead.part_outside(first, EngineStats(**zeros)) is None


# --- Attention --------------------------------------------------------------------------------------------------------


def test_all_cases_of_attention_are_measured(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--model", str(tiny_model), "--depth", "600", "--rows", "2", "--turns", "1", "--threads", "1"]
    assert attention.main(flags) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith(("| on", "| off"))]
    assert len(rows) == 2 * len(attention.SETTINGS)
    for settings, *cells in rows:
        n_measured = sum(float(cell.strip("*| ")) > 0 for cell in cells if "–" not in cell)
        assert n_measured == len(attention.CASES) - ("split" in settings)


def test_all_constraints_are_measured(tiny_model: Path) -> None:
    findings = list(structured.measure(tiny_model, n_tokens=6, turns=1))
    assert [finding.name for finding in findings] == ["free", *structured.CONSTRAINTS, *structured.TOOLS]
    assert all(finding.tokens_per_s > 0 and finding.tokens_ratio > 0 for finding in findings)
    assert all(structured.line(finding).count("|") == len(structured.HEADS) + 1 for finding in findings)


def test_what_attention_cannot_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attention.main(["--model", str(tmp_path / "none.gguf")]) == 1
    assert "none.gguf" in capsys.readouterr().err


# --- Contention -------------------------------------------------------------------------------------------------------


def test_contention_measures_each_value_alone_and_beside_a_loop(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert contention.main(["--models", str(tiny_model), "--spins", "unset,1000", "--seconds", "0.01"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| plain")]
    assert [row[1] for row in rows] == ["unset", "1000"]
    for _, _, *cells in rows:
        for cell in cells:
            mean, p95 = (float(number) for number in cell.strip(" |").split(", "))
            assert mean > 0
            assert p95 > 0


# --- Quota ------------------------------------------------------------------------------------------------------------


def test_quota_compares_what_is_decided_with_numbers_set_by_hand(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--models", str(tiny_model), "--hand", "1", "--turns", "1", "--seconds", "0.05", "--here"]
    assert quota.main(argv) in (0, 1)  # whether the goal is met is nobody's business here
    out = capsys.readouterr().out
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| plain")]
    assert [row[2].partition(":")[0] for row in rows] == ["decided", "1"]
    assert all(float(row[3]) > 0 for row in rows)
    assert "Decided against the best by hand: " in out


def test_the_ratio_is_of_medians_and_against_the_best() -> None:
    def decoded(*rates: float) -> list[quota.Decoded]:
        return [quota.Decoded(1, 1.0, rate) for rate in rates]

    found = {quota.DECIDED: decoded(9.0, 10.0, 99.0), 1: decoded(20.0, 19.0, 0.0), 2: decoded(5.0, 5.0, 50.0)}
    assert quota.ratio(found) == pytest.approx(10 / 19)


def test_a_group_gets_its_quota_and_goes_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "control_groups", lambda controller: ())
    with pytest.raises(quota.QuotaError, match="no control groups"), quota.quota_group(1.0):
        pass
    unified, cpu = ControlGroup(2, tmp_path / "unified"), ControlGroup(1, tmp_path / "cpu")
    cpu.folder.mkdir()
    monkeypatch.setattr(quota, "control_groups", lambda controller: (cpu, unified))
    with quota.quota_group(1.5) as folder:
        assert folder.parent == cpu.folder
        assert (folder / "cpu.cfs_quota_us").read_text() == "150000"
        for file in folder.iterdir():  # the kernel's own files do not keep a group from going
            file.unlink()
    assert not folder.exists()


# --- Plans and failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "nonsense"], "no scenario 'nonsense'"),
        (["--sides", "ours,theirs"], "no side 'theirs'"),
        (["--url", "http://x"], "needs --model-file"),
        (["--turns", "0"], "--turns"),
    ],
)
def test_flags_that_do_not_fit(flags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(serve.parser().parse_args(flags))


def plan(sides: list[Side], names: list[str], model: Path, **more: Any) -> Plan:
    chosen = tuple(scenario for scenario in SCENARIOS if scenario.name in names)
    return Plan(tuple(sides), chosen, {"main": model, "default": model}, **{"threads": 1, "turns": 1, **more})


@pytest.mark.parametrize(("is_full", "expected"), [(False, ["ours", "ours"]), (True, ["ours", "llama-server", "ours"])])
def test_a_peer_plays_long_scenarios_once_if_at_all(is_full: bool, expected: list[str]) -> None:
    steps = plan([Ours(), LlamaServer()], ["prefix32"], Path("m"), turns=2, is_full=is_full).steps()
    assert [side.name for _, _, side in steps] == expected


def test_who_goes_first_changes() -> None:
    steps = plan([Ours(), LlamaServer()], ["single"], Path("m"), turns=2).steps()
    assert [(turn, side.name) for _, turn, side in steps] == [
        (0, "ours"),
        (0, "llama-server"),
        (1, "llama-server"),
        (1, "ours"),
    ]


def test_every_slot_holds_the_longest_sequence() -> None:
    for scenario in SCENARIOS:
        assert scenario.n_slot_cells(1.0) >= scenario.n_slot_tokens
        assert scenario.n_slot_cells(1.0) % 256 == 0
    assert scaled(2000, 0.001) == 6
    assert scaled(4, 0.1) == 4


def test_a_peer_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho loading $2\necho error: no such model >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(servers, "peer", lambda name: program)
    with pytest.raises(StartError, match="ended with status 3: loading m / error: no such model"):
        LlamaServer().serve(Setting(Path("m"), 1, 1, 256)).__enter__()


class Broken:
    name = "broken"
    flags: tuple[str, ...] = ()

    def serve(self, setting: Setting) -> contextlib.AbstractContextManager[str]:
        raise StartError("it does\nnot start")


def test_a_failure_names_scenario_and_side(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = measure(plan([Broken()], ["single", "deep"], tiny_model), tmp_path / "out.json")
    assert found.runs == []
    assert [str(failure) for failure in found.failures] == [
        "scenario single, broken: it does not start",
        "scenario deep, broken: it does not start",
    ]
    assert "FAILED scenario single, broken: it does not start\n" in capsys.readouterr().err
    assert read_results([tmp_path / "out.json"]).failures == found.failures


# --- The real service -------------------------------------------------------------------------------------------------


def test_two_scenarios_on_our_service(tiny_model: Path, tmp_path: Path) -> None:
    found = measure(plan([Ours()], ["talks", "interrupt"], tiny_model, scale=0.05), tmp_path / "out.json")
    assert found.failures == []
    figures = {name: value for run in found.runs for name, value in run.figures.items()}
    assert set(figures) == {"total_s", "ttft_later_p50_s", "gap_max_s", "gap_p99_s", "ttft_s"}
    assert all(value > 0 for value in figures.values())
    talks = next(run for run in found.runs if run.scenario == "talks")
    assert len(talks.answers) == 24
    assert all(answer["n_events"] == answer["n_answer"] == 6 for answer in talks.answers)
    assert "| 6 conversations of 4 turns on 4 slots | total | 1 |" in markdown(found)


def test_our_service_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"the service ended: .*nowhere"):
        Ours().serve(Setting(tmp_path / "nowhere.gguf", 1, 1, 256)).__enter__()
