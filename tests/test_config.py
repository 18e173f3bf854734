"""Options of the engine and the service: where they come from, and every bad name or value refused by name."""

from __future__ import annotations

import argparse
import os
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore import config
from llmcore.config import EngineConfig
from llmcore.errors import ConfigError
from llmcore.machine.options import add_flags, env_names, options
from llmcore_app.config import ServerConfig


def flags(*argv: str) -> dict[str, object]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser, EngineConfig)
    add_flags(parser, ServerConfig)
    return vars(parser.parse_args(argv))


def test_a_flag_wins_over_the_environment_and_that_over_the_default() -> None:
    environ = {"LLMCORE_N_CTX": "1024", "MODEL_PATH": "/env.gguf", "PORT": "9000"}
    loaded = config.load(EngineConfig, flags("--n-ctx", "2048"), environ)
    assert (loaded.n_ctx, loaded.model_path, loaded.n_slots) == (2048, "/env.gguf", 8)
    assert config.load(ServerConfig, flags(), environ).port == 9000


def test_the_long_name_of_a_variable_wins_over_the_short_one() -> None:
    environ = {"LLMCORE_PORT": "1", "PORT": "2"}
    assert config.load(ServerConfig, {}, environ).port == 1


def test_an_empty_variable_counts_as_absent() -> None:
    assert config.load(ServerConfig, {}, {"PORT": ""}).port == 8001


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"LLMCORE_NCTX": "1"}, "LLMCORE_NCTX"),
        ({"LLMCORE_N_CTX": "many"}, "LLMCORE_N_CTX"),
        ({"LLMCORE_MMAP": "maybe"}, "LLMCORE_MMAP"),
        ({"LLMCORE_BLAS": "maybe"}, "blas"),
        ({"LLMCORE_N_SLOTS": "0"}, "n_slots"),
        ({"LLMCORE_N_SLOTS": "257"}, "n_slots"),
        ({"LLMCORE_CACHE_TYPE_K": "q9"}, "cache_type_k"),
        ({"LLMCORE_N_BATCH": "64", "LLMCORE_N_UBATCH": "128"}, "n_ubatch"),
        ({"LLMCORE_CACHE_TYPE_V": "q8_0"}, "cache_type_v"),
    ],
)
def test_a_bad_variable_is_refused_by_name(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(EngineConfig, {}, environ)
    assert caught.value.param == named
    assert named in caught.value.message


def test_a_bad_flag_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="--n-ctx must be a whole number"):
        config.load(EngineConfig, flags("--n-ctx", "x"), {})


def test_values_of_the_wrong_type_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_ctx must be int"):
        EngineConfig(n_ctx="1")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="n_ctx must be int"):
        EngineConfig(n_ctx=True)
    with pytest.raises(ConfigError, match="drain_s must be between"):
        ServerConfig(drain_s=float("nan"))


PATHS = ("model_path", "chat_template", "profile_dir", "prefix_file", "prefix_dir", "draft_model")


@given(st.binary().map(lambda data: data.replace(b"\0", b"")))
def test_paths_of_any_bytes_can_be_sent(data: bytes) -> None:
    given_paths: dict[str, Any] = dict.fromkeys(PATHS, os.fsdecode(data))
    whole = EngineConfig(**given_paths, n_ctx=512, speculation="model")
    without, paths = config.detach_paths(whole)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode((without, paths)), type=tuple[EngineConfig, dict[str, bytes]])
    assert sent[1] == (dict.fromkeys(PATHS, data) if data else {})
    assert config.attach_paths(*sent) == whole


@pytest.mark.parametrize("path", ["a\0b", "a\ud800"])
def test_what_no_path_can_be_is_refused_by_name(path: str) -> None:
    for name in PATHS:
        options: dict[str, Any] = {name: path}
        with pytest.raises(ConfigError, match=name) as caught:
            EngineConfig(**options)
        assert caught.value.param == name
        caught.value.message.encode("utf-8")
    with pytest.raises(ConfigError, match="tls_cert"):
        ServerConfig(tls_cert=path)


@pytest.mark.parametrize("kind", [EngineConfig, ServerConfig])
def test_paths_keep_their_bytes_and_all_other_options_are_text(kind: type[config.Config]) -> None:
    raw = os.fsdecode(b"x\xff\xc3\xa8")
    checked = ("embed_dimensions", "cors_origins", "allowed_hosts", "tls_key")  # by rules of their own
    for name, default, option in options(kind):
        if isinstance(default, str) and not option.choices and name not in checked:
            variable = env_names(name, option)[0]
            expected = raw if option.is_path else "x\ufffdè"
            assert getattr(config.load(kind, {}, {variable: raw}), name) == expected, name
            assert getattr(config.load(kind, {name: raw}, {}), name) == expected, name


def test_an_unknown_variable_that_is_not_utf_8() -> None:
    with pytest.raises(ConfigError, match="unknown option LLMCORE_X\ufffd"):
        config.load(EngineConfig, {}, {os.fsdecode(b"LLMCORE_X\xff"): "1"})


@pytest.mark.parametrize(
    ("option", "value"), [("kernels", "off"), ("kernels", "amx"), ("flash_attn", "off"), ("cache_type_k", "f32")]
)
def test_settings_that_cannot_be_repeated_are_refused(option: str, value: str) -> None:
    EngineConfig(**{option: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="repeatable") as raised:
        EngineConfig(**{option: value, "repeatable": "on"})  # type: ignore[arg-type]
    assert raised.value.param == option
