"""Options as fields of a dataclass: flags, variables, help, and what is refused."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import pytest

from llmcore import config
from llmcore.config import EngineConfig
from llmcore.errors import ConfigError
from llmcore.machine.options import (
    add_flags,
    check_options,
    env_names,
    flag,
    option_field,
    options,
    read_options,
    refuse_unknown,
    shown_default,
)


@dataclass(frozen=True)
class Kettle:
    """Options of a kettle."""

    litres: float = option_field(1.5, "water in it", unit="litres", low=0.5, high=2)
    is_on: bool = option_field(False, "heat it")
    colour: str = option_field("red", "its colour", env="COLOUR", choices=("red", "blue"))

    def __post_init__(self) -> None:
        check_options(self)


def flags(*argv: str) -> dict[str, object]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser, EngineConfig)
    return vars(parser.parse_args(argv))


def test_a_declaration_gives_flag_variables_and_default() -> None:
    [(name, default, option), *_] = options(Kettle)
    assert (flag("is_on"), name, default) == ("--is-on", "litres", 1.5)
    assert env_names(name, option) == ("LLMCORE_LITRES",)
    assert [shown_default(each) for each in (True, False, "", "x", 1.5)] == ["on", "off", "none", "x", "1.5"]
    assert read_options(Kettle, {"litres": "2"}, {"COLOUR": "blue", "LLMCORE_IS_ON": "yes"}) == Kettle(
        2.0, True, "blue"
    )


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"LLMCORE_LITRES": "a lot"}, "LLMCORE_LITRES must be a number"),
        ({"LLMCORE_LITRES": "nan"}, "litres must be between 0.5 and 2"),
        ({"LLMCORE_IS_ON": "perhaps"}, "LLMCORE_IS_ON must be on or off"),
        ({"COLOUR": "green"}, "colour must be one of red, blue"),
    ],
)
def test_a_bad_value_is_refused_by_name(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_options(Kettle, {}, environ)


def test_an_unknown_variable_is_refused_and_those_of_the_build_are_not() -> None:
    refuse_unknown({"LLMCORE_LITRES": "1", "LLMCORE_CACHE_DIR": "x", "OTHER": "y"}, [Kettle])
    with pytest.raises(ConfigError, match="unknown option LLMCORE_LITERS"):
        refuse_unknown({"LLMCORE_LITERS": "1"}, [Kettle])


@pytest.mark.parametrize(("text", "threads"), [("3", 3), ("4,2", 4), (" 2 , 1 ", 2), ("0", 0), ("", 0)])
def test_openmps_variable_may_be_a_list(text: str, threads: int) -> None:
    assert config.load(EngineConfig, {}, {"OMP_NUM_THREADS": text}).threads == threads
    assert config.load(EngineConfig, {}, {"OMP_NUM_THREADS": text, "LLMCORE_THREADS": "7"}).threads == 7
    assert config.load(EngineConfig, flags("--threads", "9"), {"OMP_NUM_THREADS": text}).threads == 9


@pytest.mark.parametrize("text", ["many", "4,", ",4", "4,many", "4,0", "0,4", "-1", "4;2", "²", "1.5", "9" * 20])
def test_a_bad_list_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="OMP_NUM_THREADS must be a whole number") as caught:
        config.load(EngineConfig, {}, {"OMP_NUM_THREADS": text})
    assert caught.value.param == "OMP_NUM_THREADS"
    # Only OpenMP's own variable has lists.
    with pytest.raises(ConfigError, match="LLMCORE_THREADS must be a whole number"):
        config.load(EngineConfig, {}, {"LLMCORE_THREADS": "4,2"})


def test_help_names_every_option_with_its_variable_and_default() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, EngineConfig)
    text = " ".join(parser.format_help().split())
    for name, _, option in options(EngineConfig):
        assert flag(name) in text
        assert env_names(name, option)[0] in text


def test_flags_of_some_options_alone() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser, EngineConfig, ("n_ctx", "blas"))
    assert vars(parser.parse_args(["--n-ctx", "5", "--blas", "on"])) == {"n_ctx": "5", "blas": "on"}
    with pytest.raises(SystemExit):
        parser.parse_args(["--n-slots", "5"])


def test_booleans_read_the_usual_words() -> None:
    assert config.load(EngineConfig, {}, {"LLMCORE_MMAP": "off"}).mmap is False
    assert config.load(EngineConfig, {}, {"LLMCORE_MMAP": "1"}).mmap is True
