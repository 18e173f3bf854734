"""benchmarks.speculation in small: all its ways of running, on a chain model of 64 numbers a token and on the default model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import speculation
from benchmarks.chain import Chain
from benchmarks.chain_model import chain_tensors, successor_pairs
from benchmarks.random_model import LlamaShape, n_tokens, write_model
from benchmarks.servers import LlamaServer, Ours
from benchmarks.source import vocabulary
from benchmarks.speculation import Models, Plan, chosen, is_served, sides
from benchmarks.speculation_work import QUOTING, WORKS, Work

VOCABULARY = vocabulary("llama-spm")


class SmallModels(Models):
    """The same with a small shape and vocabulary."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chain = Chain(VOCABULARY)

    def path(self, name: str) -> Path:
        return super().path(name) if name == "default" else self._file("chain.gguf", 0.0)

    def draft(self, work: Work) -> Path | None:
        return self._file("draft.gguf", 0.2) if work.draft else None

    def chain(self, name: str) -> Chain | None:
        return None if name == "default" else self._chain

    def _file(self, name: str, wrong: float) -> Path:
        path = self._folder / name
        if not path.exists():
            shape = LlamaShape(n_tokens(VOCABULARY), 64, 1, 4, 2, 128, 8192, std=0.02, is_tied=False)
            tensors = chain_tensors(shape, successor_pairs(self._chain, wrong))
            write_model(path, "llama", shape.metadata(), tensors, VOCABULARY, quant="F16")
        return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> SmallModels:
    return SmallModels(tmp_path_factory.mktemp("speculation"))


def test_in_this_process_and_over_http(
    models: SmallModels, default_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    only = "1B shape: acceptance 0.8,1B shape: small draft,quoting"
    sizes = ["--turns", "2", "--tokens", "24", "--jobs", "1", "--threads", "1", "--http", "ours"]
    assert speculation.main(["--only", only, *sizes, "--json", str(out)], models) == 0
    found = json.loads(out.read_text("utf-8"))
    chains = ("acceptance 0.8", "acceptance 0.8, 8 callers", "small draft model, acceptance 0.8")
    titles = [*(f"1B shape: {each}" for each in chains), "default model: quoting"]
    assert [each["work"] for each in found["local"]] == titles
    for each in found["local"]:
        assert each["is_same"]
        assert len(each["pairs"]) == 2
        assert all(rate > 0 for pair in each["pairs"] for rate in pair)
    assert [each["work"] for each in found["served"]] == [titles[0], *titles[2:]]
    for each in found["served"]:
        assert each["failures"] == {}
        assert {name: len(rates) for name, rates in each["rates"].items()} == {"ours, off": 2, "ours": 2}
    printed = capsys.readouterr().out
    assert all(f"| {title} |" in printed for title in titles)


def test_an_answer_that_is_not_the_chain_ends_the_measurement(
    models: SmallModels, capsys: pytest.CaptureFixture[str]
) -> None:
    class Wrong(SmallModels):
        def path(self, name: str) -> Path:
            return self._file("wrong.gguf", 0.9)

    wrong = Wrong(models._folder)
    sizes = ["--turns", "1", "--tokens", "8", "--threads", "1", "--http", "nothing"]
    assert speculation.main(["--only", "1B shape: acceptance 1", *sizes], wrong) == 1
    assert "an answer is not the chain" in capsys.readouterr().err


def test_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert speculation.main(["--only", "70b"]) == 1
    assert "no work is of a model '70b'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        speculation.main(["--tokens", "2"])
    assert chosen("8b,quoting")[-1] is QUOTING
    assert {work.model for work in chosen("8b")} == {"8b"}


def test_settings_hold_the_longest_prompt_of_all_callers(models: SmallModels) -> None:
    for n_answer in (8, 128):
        plan = Plan(1, 2, n_answer)
        for work in WORKS:
            chain = models.chain(work.model)
            setting = plan.setting(work, Path("m.gguf"), chain)
            longest = max(len(job.tokens) for turn in range(3) for job in plan.jobs(work, turn, chain))
            assert setting.n_slots == work.n_callers
            assert setting.n_slot_cells > longest + n_answer


def test_servers_are_compared_with_and_without_each_kind_of_speculation() -> None:
    found = sides(QUOTING, None, has_peer=True)
    assert [type(each) for name, each in found.items() if name.startswith("ours")] == [Ours, Ours]
    assert found["ours, off"].flags == ("--speculation", "off")
    assert found["llama-server"].flags == ()
    assert found["llama-server, default"].flags == ("--spec-default",)
    work = next(each for each in WORKS if each.draft)
    drafted = sides(work, Path("d.gguf"), has_peer=True)
    assert drafted["ours"].flags == ("--speculation", "auto", "--draft-model", "d.gguf")
    assert isinstance(drafted["llama-server, draft-simple"], LlamaServer)
    assert "d.gguf" in drafted["llama-server, draft-simple"].flags
    assert not any(isinstance(each, LlamaServer) for each in sides(work, Path("d.gguf"), has_peer=False).values())
    assert is_served(QUOTING)
    assert is_served(work)
