"""deploy/monitoring: the service exports every metric that the rules and the dashboard use."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from llmcore.messages import EngineStats
from llmcore_app.metrics.answers import SPEECH_BUCKETS_S
from llmcore_app.metrics.service import Metrics

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "llmcore.json"
ADAPTER = FOLDER.parent / "k8s" / "prometheus-adapter.yaml"

# Exported only where a CPU quota limits the service.
OF_QUOTAS = {f"llm_service_cpu_{name}_total" for name in ("quota_periods", "throttled_periods", "throttled_seconds")}
OF_PROMETHEUS = {"up", "ALERTS"}

# A name that is followed by a selector, a window, or nothing that makes it a function or a label; what stands in quotes and
# in `by (…)` and the like is taken out before.
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?![a-zA-Z0-9_:]|\s*\()")
_WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset", "sum", "max", "min", "avg"}
_LABEL_LISTS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")


def metrics_of(expression: str) -> set[str]:
    """Names of metrics and recorded series in a PromQL expression."""
    bare = re.sub(r"\{[^}]*\}", " ", re.sub(r'"[^"]*"', "", expression))
    bare = re.sub(r"\[[^]]*\]", " ", _LABEL_LISTS.sub(" ", bare))
    return set(_NAME.findall(re.sub(r"\b\d[\w.]*", " ", bare))) - _WORDS


def exported() -> set[str]:
    """Returns every series of a service with API keys and a running engine."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, "model", "0")
    metrics.add_keys(["key"])
    metrics.engine.stats = EngineStats(
        n_running=0, n_waiting=0, n_slots=1, n_cells=1, n_cells_used=0, n_steps=0, n_tokens_prefilled=0,
        n_tokens_cached=0, n_tokens_generated=0,
    )  # fmt: skip
    names = set()
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",), "gauge": ("",)}
    for family in registry.collect():
        names |= {family.name + suffix for suffix in suffixes[family.type]}
    return names


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def dashboard_expressions() -> Iterator[str]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    yield from (each["expr"] for each in dashboard["annotations"]["list"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"].replace("label_values(", "").rpartition(",")[0]
    for panel in panels():
        yield from (target["expr"] for target in panel.get("targets", ()))


def unknown(expressions: Iterator[str] | list[str]) -> set[str]:
    known = exported() | recorded() | OF_QUOTAS | OF_PROMETHEUS
    return set().union(*map(metrics_of, expressions)) - known


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (model, le) (rate(a_bucket{le="2.0", x=~"b_.*"}[5m])) > 0.5', {"a_bucket"}),
        ("job:a:rate5m and on (model) (1 - b_total / c) * 1e3", {"job:a:rate5m", "b_total", "c"}),
        ("max without (x) (a / (b > 0)) or absent(c)", {"a", "b", "c"}),
    ],
)
def test_metrics_of(expression: str, names: set[str]) -> None:
    assert metrics_of(expression) == names


def test_a_metric_that_nobody_exports_is_found() -> None:
    assert unknown(["rate(llm_service_requests_total[5m]) + llm_service_nothing"]) == {"llm_service_nothing"}


def test_rules_ask_for_what_is_exported() -> None:
    assert len(rules()) > 30
    assert unknown([rule["expr"] for rule in rules()]) == set()


def test_the_dashboard_asks_for_what_is_exported() -> None:
    assert len(list(dashboard_expressions())) > 50
    assert unknown(dashboard_expressions()) == set()


def test_the_adapter_asks_for_what_is_exported() -> None:
    for rule in yaml.safe_load(ADAPTER.read_text(encoding="utf-8"))["rules"]:
        query = rule["metricsQuery"].replace("<<.Series>>", rule["seriesQuery"].partition("{")[0])
        assert unknown([query.replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", "")]) == set()
        assert unknown([rule["seriesQuery"]]) == set()


def test_every_bucket_that_rules_name_is_one() -> None:
    named = {float(le) for rule in rules() for le in re.findall(r'le="([^"]+)"', rule["expr"])}
    assert named == {0.3, 2.0}
    assert named <= set(SPEECH_BUCKETS_S)


def test_every_recorded_window_is_asked_for() -> None:
    """Burn rates of a window that no alert and no panel uses would be computed for nothing."""
    asked = set().union(*(metrics_of(rule["expr"]) for rule in rules()), *map(metrics_of, dashboard_expressions()))
    assert {name for name in recorded() if "_slow:" in name} <= asked


def test_every_alert_tells_what_and_how_bad() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"]["summary"]


def test_panels_stand_beside_each_other() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_panels_ask_the_chosen_prometheus() -> None:
    for panel in panels():
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def test_provisioning_finds_the_dashboard_and_prometheus() -> None:
    """Paths are those that docker-compose.yml mounts."""
    folder = FOLDER / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))["datasources"][0]
    provider = yaml.safe_load((folder / "dashboards" / "llmcore.yml").read_text(encoding="utf-8"))["providers"][0]
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert config["rule_files"] == ["rules.yml"]
    assert config["scrape_configs"][0]["job_name"] == "llm"


def query_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("query", FOLDER / "query.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_query_script_knows_all_variables() -> None:
    asked = list(query_script().queries(json.loads(DASHBOARD.read_text(encoding="utf-8"))))
    assert len(asked) == sum(len(panel.get("targets", ())) for panel in panels())
    assert [expression for _, _, expression in asked if "$" in expression] == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
@pytest.mark.parametrize("arguments", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
