"""Options of the service and of its cluster. How options are declared and read is tested in tests/test_config.py."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.errors import ConfigError
from llmcore_app.config import ClusterConfig, ServerConfig


@pytest.mark.parametrize(
    "options",
    [
        *({"keys_everywhere": True}, {"prefix_isolation": "key"}, {"key_requests_per_minute": 1}),
        *({"key_tokens_per_minute": 1}, {"key_concurrent": 1}),
    ],
    ids=str,
)
def test_options_about_keys_need_some(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        ServerConfig(**options)
    ServerConfig(api_keys="a:b", **options)
    ServerConfig(api_keys_file="/keys", **options)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tls_key": "/key.pem"}, "tls_key"),
        ({"max_answer_tokens": 8, "max_tokens_default": 9}, "max_tokens_default"),
        ({"cors_origins": "a.example"}, "cors_origins"),
        ({"cors_origins": "https://a.example/"}, "cors_origins"),
        ({"cors_origins": "https://a.example https://b.example"}, "cors_origins"),
        ({"allowed_hosts": "https://a.example"}, "allowed_hosts"),
        ({"allowed_hosts": "a.example:8001"}, "allowed_hosts"),
        ({"allowed_hosts": "a.*.example"}, "allowed_hosts"),
        ({"port": 65536}, "port"),
        ({"prefix_isolation": "on"}, "prefix_isolation"),
    ],
    ids=str,
)
def test_a_bad_value_is_refused_by_its_option(options: dict[str, Any], param: str) -> None:
    with pytest.raises(ConfigError, match=param) as caught:
        ServerConfig(**options)
    assert caught.value.param == param


def test_lists_are_separated_by_commas() -> None:
    config = ServerConfig(
        cors_origins="https://a.example , http://localhost:3000,,*", allowed_hosts=" a.example,*.b.example, [::1],*"
    )
    assert config.origins == ("https://a.example", "http://localhost:3000", "*")
    assert config.hosts == ("a.example", "*.b.example", "[::1]", "*")
    assert ServerConfig().origins == ServerConfig().hosts == ()


def test_a_cluster_has_no_fewer_replicas_at_most_than_always() -> None:
    ClusterConfig(n_replicas=3, n_replicas_max=0)
    ClusterConfig(n_replicas=3, n_replicas_max=3)
    with pytest.raises(ConfigError, match="n_replicas_max") as caught:
        ClusterConfig(n_replicas=3, n_replicas_max=2)
    assert caught.value.param == "n_replicas_max"
