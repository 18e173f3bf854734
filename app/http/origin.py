"""Protection of a service without API keys against web pages of other sites.

Any page can make a browser send requests, also to services that only this machine can reach. Two rules refuse them, before the
body is read:

- Pages of other origins must be allowed (`--cors-origins`). Browsers send the origin of a request in `Origin`; requests without
  one (images, scripts, frames) have `Sec-Fetch-Site`. A visit in a tab is allowed: no page can read its reply.
- A page whose host name resolves to this service (DNS rebinding) has the service's own origin. The host name gives it away: on
  loopback, only loopback names and those of `--allowed-hosts` are served. Addresses cannot be rebound, and need no check.

Clients that are not browsers send neither header, and are not affected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from llmcore.log import cut

from .errors import ApiError

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/@?#\s]*))(?::([0-9]{0,5}))?")
_PORTS = {"http": 80, "https": 443}
_OTHER_SITES = frozenset({b"cross-site", b"same-site"})


@dataclass(frozen=True)
class Authority:
    """Host, in lower case and without a trailing dot, and port of a URL or a Host header. The port may be absent."""

    host: str
    port: int | None = None

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """IP address of the host. None if it is a name."""
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return None
        return getattr(address, "ipv4_mapped", None) or address

    @property
    def is_loopback(self) -> bool:
        address = self.address
        if address is not None:
            return address.is_loopback
        return self.host == "localhost" or self.host.endswith(".localhost")


def authority_of(text: str) -> Authority | None:
    """Parses `host` or `host:port`, as in a Host header. None if it is neither."""
    matched = _AUTHORITY.fullmatch(text)
    if matched is None:
        return None
    host = matched[1] or matched[2].removesuffix(".")
    return Authority(host.lower(), int(matched[3]) if matched[3] else None) if host else None


class Hosts:
    """Host names that the service answers to: loopback names and `allowed`, and any IP address unless the service is local.
    `*` allows every name, `*.example` allows the names with this suffix."""

    def __init__(self, allowed: Iterable[str], *, is_local: bool) -> None:
        names = [each.strip("[]").lower().removesuffix(".") for each in allowed]
        self._is_any = "*" in names
        self._suffixes = tuple(each[1:] for each in names if each.startswith("*."))
        self._names = frozenset(names)
        self._is_local = is_local

    def has(self, authority: Authority) -> bool:
        if self._is_any or authority.is_loopback or authority.host in self._names:
            return True
        if authority.address is not None:
            return not self._is_local
        return authority.host.endswith(self._suffixes) if self._suffixes else False


class Origins:
    """Origins that may use the service, besides its own. `*` is every origin."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(_origin_of(each) for each in allowed if each != "*")
        self.are_any = "*" in allowed

    def has(self, origin: str, own: Authority | None) -> bool:
        """True if pages of `origin` are allowed. `own` is the Host header of the request."""
        found = _origin_of(origin)
        if self.are_any or found is None:
            return self.are_any
        scheme, host, port = found
        if own is not None and (own.host, own.port or _PORTS[scheme]) == (host, port):
            return True
        return found in self._allowed


def _origin_of(text: str) -> tuple[str, str, int] | None:
    """Parses an origin to (scheme, host, port). None for `null` and for other schemes than HTTP."""
    scheme, _, rest = text.lower().partition("://")
    authority = authority_of(rest) if scheme in _PORTS else None
    return None if authority is None else (scheme, authority.host, authority.port or _PORTS[scheme])


class PagesGuard:
    """ASGI middleware that refuses requests of foreign pages. It raises ApiError (403), which Telemetry answers. Hosts or origins
    that are None are not checked."""

    def __init__(self, app: ASGIApp, *, hosts: Hosts | None, origins: Origins | None) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            self._check(scope)
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.strip())
        hosts = [each.decode("latin-1") for each in headers.get(b"host", ())]
        authorities = [authority_of(each) for each in hosts]
        if self._hosts is not None:
            for host, authority in zip(hosts, authorities, strict=True):
                if authority is None or not self._hosts.has(authority):
                    raise _host_refused(host)
        if self._origins is None:
            return
        own = authorities[0] if authorities else None
        origins = [each.decode("latin-1") for each in headers.get(b"origin", ())]
        for origin in origins:
            if not self._origins.has(origin, own):
                raise _origin_refused(f"pages of {cut(origin)!r}")
        if not origins and not self._origins.are_any and _is_embedded_in_foreign_page(scope, headers):
            raise _origin_refused("pages of other sites")


def _is_embedded_in_foreign_page(scope: Scope, headers: dict[bytes, list[bytes]]) -> bool:
    """True if a page of another site made the request, unless it is a visit: a link to this service that was followed."""
    if not _OTHER_SITES & {each.lower() for each in headers.get(b"sec-fetch-site", ())}:
        return False
    is_visit = headers.get(b"sec-fetch-mode") == [b"navigate"] and headers.get(b"sec-fetch-dest") == [b"document"]
    return not is_visit or scope.get("method") not in ("GET", "HEAD")


def _host_refused(host: str) -> ApiError:
    message = (
        f"This service does not answer to the host {cut(host)!r}: without API keys, other names than its own may belong to a "
        "hostile page. --allowed-hosts (LLMCORE_ALLOWED_HOSTS) allows names."
    )
    return ApiError(403, "host_not_allowed", message)


def _origin_refused(source: str) -> ApiError:
    message = (
        f"Requests of {source} are refused: without API keys, this service serves its own pages only. "
        "--cors-origins (LLMCORE_CORS_ORIGINS) allows origins."
    )
    return ApiError(403, "origin_not_allowed", message)
