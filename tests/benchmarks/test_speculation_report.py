"""Tables of findings about speculation."""

from __future__ import annotations

from benchmarks.speculation_report import LOCAL_HEADS, LocalFinding, ServerFinding, markdown


def local(goal: float | None = 2.0, *, is_same: bool = True) -> LocalFinding:
    pairs = ((10.0, 25.0), (8.0, 16.0), (10.0, 30.0))
    return LocalFinding("work", pairs, goal, tokens_per_step=3.5, acceptance=0.75, is_same=is_same)


def test_ratios_are_those_of_the_turns() -> None:
    assert local().ratio == 2.5
    assert (local().is_met, local(2.6).is_met, local(None).is_met) == (True, False, None)
    assert local().cells() == ["work", "10.0", "25.0", "2.50 (2.00 to 3.00)", "at least 2", "met", "3.50", "75%", "yes"]
    assert len(LOCAL_HEADS) == len(local().cells())
    assert local(2.6, is_same=False).cells()[5:] == ["**not met**", "3.50", "75%", "**no**"]


def test_our_best_is_compared_with_the_peers_best() -> None:
    rates = {"ours, off": [10.0], "ours": [20.0, 40.0], "llama-server": [15.0], "llama-server, ngram-mod": [12.0]}
    found = ServerFinding("work", rates, {})
    assert found.best("ours") == ("ours", 30.0)
    assert found.best("llama-server") == ("llama-server", 15.0)
    assert found.ratio == 2.0
    assert ServerFinding("work", {"ours": [1.0], "llama-server": []}, {}).ratio is None


def test_tables_have_a_column_for_each_setting_and_a_list_of_failures() -> None:
    one = ServerFinding("one", {"ours": [20.0], "llama-server": [10.0]}, {})
    two = ServerFinding(
        "two", {"ours": [5.0], "llama-server, draft-simple": []}, {"llama-server, draft-simple": "died"}
    )
    text = markdown([local()], [one, two], "A machine.")
    assert text.startswith("A machine.\n\n| work |")
    assert "| work | ours | llama-server | llama-server, draft-simple | ours against its best |" in text
    assert "| one | 20.0 | 10.0 | – | 2.00 |" in text
    assert "| two | 5.0 | – | – | – |" in text
    assert "- two, llama-server, draft-simple: died" in text
    assert markdown([], [], "A machine.") == "A machine."
