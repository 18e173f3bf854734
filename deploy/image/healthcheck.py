#!/usr/bin/env python3
"""The image's health check: exit status 0 where /readyz says that the service can answer.

Readiness, not liveness, because what asks wants to know whether requests may come: `depends_on: service_healthy`, and a
proxy's choice of backends. That the process lives is what its exit tells; the service restarts its engine by itself, and
the check's retries leave time for that. It runs every few seconds beside a busy engine, so it imports the standard
library alone.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from collections.abc import Mapping

TIMEOUT_S = 4


def connection(environ: Mapping[str, str]) -> http.client.HTTPConnection:
    """To the service's port on loopback, which its environment tells. Its certificate is made for another name."""
    port = int(environ.get("LLMCORE_PORT") or environ.get("PORT") or 8001)
    if environ.get("LLMCORE_TLS_CERT"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)
    return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)


def main(environ: Mapping[str, str]) -> int:
    try:
        asked = connection(environ)
        asked.request("GET", "/readyz")
        reply = asked.getresponse()
        print(reply.read(1000).decode(errors="replace"))
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"no answer: {error}")
        return 1
    return 0 if reply.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
