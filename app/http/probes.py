"""Paths of the health probes."""

from __future__ import annotations

# They need no API key, are answered while there are too many connections, and are logged at debug level only. Their other names are
# in paths.py.
PROBE_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/health"})
