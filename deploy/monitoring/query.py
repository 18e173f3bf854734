#!/usr/bin/env python3
"""Sends each query of rules.yml and of the dashboard to a running Prometheus, and prints which ones have data.

    python3 deploy/monitoring/query.py http://127.0.0.1:9090

The exit status is 1 if a rule is unhealthy, or if a panel's query is refused or finds nothing. --may-be-empty is a regular
expression of panels that may find nothing, because there is no quota, no API key, or no reranker.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parent / "grafana" / "dashboards" / "llmcore.json"
TIMEOUT_S = 30
# Values that Grafana would substitute: all instances, and four scrapes of 15 seconds.
VARIABLES = {"$__rate_interval": "1m", "$model": ".*", "$instance": ".*"}


def filled_in(expression: str) -> str:
    """Returns a query of the dashboard with values for its variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yields (panel, reference, expression without variables) for each query."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["refId"], filled_in(target["expr"])


def get(url: str, path: str, **arguments: str) -> Any:
    """Returns the `data` of a reply of Prometheus' HTTP API. Raises RuntimeError with its error."""
    query = urllib.parse.urlencode(arguments)
    try:
        with urllib.request.urlopen(f"{url}/api/v1/{path}?{query}", timeout=TIMEOUT_S) as reply:
            answer = json.load(reply)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{error.code}: {error.read(1000).decode(errors='replace')}") from None
    except urllib.error.URLError as error:
        raise RuntimeError(f"{url} does not answer: {error.reason}") from None
    return answer["data"]


def check_rules(url: str) -> int:
    """Prints each rule with its state. Returns the number of unhealthy rules."""
    n_bad = 0
    for group in get(url, "rules")["groups"]:
        for rule in group["rules"]:
            if rule["type"] == "recording":
                state = f"{len(get(url, 'query', query=rule['name'])['result'])} series"
            else:
                state = rule["state"]
            n_bad += rule["health"] != "ok"
            print(f"{rule['health']:8} {rule['name']}: {state} {rule.get('lastError', '')}".rstrip())
    return n_bad


def check_panels(url: str, may_be_empty: str) -> int:
    """Prints each panel's query with its result. Returns the number of queries that failed: refused, or unexpectedly empty."""
    n_bad = 0
    for title, reference, expression in queries(json.loads(DASHBOARD.read_text(encoding="utf-8"))):
        try:
            n_series = len(get(url, "query", query=expression)["result"])
        except RuntimeError as error:
            n_bad += 1
            print(f"error    {title} {reference}: {error}")
            continue
        is_bad = n_series == 0 and not re.search(may_be_empty, title)
        n_bad += is_bad
        print(f"{'EMPTY' if is_bad else 'ok' if n_series else 'empty':8} {title} {reference}: {n_series} series")
    return n_bad


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url", help="of Prometheus")
    parser.add_argument("--may-be-empty", default="(?!)", metavar="REGEX")
    args = parser.parse_args()
    try:
        n_bad = check_rules(args.url) + check_panels(args.url, args.may_be_empty)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{n_bad} not well")
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
