"""Log lines about ignored fields of requests."""

from __future__ import annotations

import logging

from llmcore.log import event

from ..http.request_log import RequestLog

logger = logging.getLogger(__name__)

N_FIELDS_MAX = 256


class IgnoredLog:
    """Logs each field once, as long as this object lives. After N_FIELDS_MAX fields it says so and stops: the names are texts of
    callers, who could otherwise fill memory and log."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def report(self, request_log: RequestLog) -> None:
        """Logs the fields of a request that no request before had."""
        for path, kind in request_log.ignored.paths.items():
            if path in self._logged or len(self._logged) >= N_FIELDS_MAX:
                continue
            self._logged.add(path)
            event(logger, logging.INFO, "field_ignored", field=path, kind=kind, endpoint=request_log.endpoint)
            if len(self._logged) == N_FIELDS_MAX:
                event(logger, logging.INFO, "fields_ignored_no_longer_logged", n_fields=N_FIELDS_MAX)
