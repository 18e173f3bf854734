"""Which web pages may use a service that asks for no key.

A browser sends what any page tells it to, also to services that only this machine reaches. Two rules keep pages out, before
anything of a body is read:

- A page of another origin needs to be allowed (`--cors-origins`). Browsers say where a request comes from: in `Origin`, or for
  what has none (images, scripts, frames) in `Sec-Fetch-Site`. Opening an address in a tab stays possible: no page reads that.
- A page whose own name leads to this service (DNS rebinding) looks like one of the service's own. It is told by that name: on
  loopback only loopback names are answered, and those of `--allowed-hosts`. An address is no name, and cannot be rebound.

Other clients send neither header, and notice nothing.
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
    """A host in lower case, without a dot at its end, and its port if there is one."""

    host: str
    port: int | None = None

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """None for a name."""
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
    """`host:port` as in a Host header. None for what is none."""
    matched = _AUTHORITY.fullmatch(text)
    if matched is None:
        return None
    host = matched[1] or matched[2].removesuffix(".")
    return Authority(host.lower(), int(matched[3]) if matched[3] else None) if host else None


class Hosts:
    """Names that the service is reached by. Where it is `local` these are loopback names and `allowed`, elsewhere any address
    besides; `*` allows every name, `*.example` those that end so."""

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
    """Origins whose pages may use the service besides its own; `*` is every origin."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(_origin_of(each) for each in allowed if each != "*")
        self.are_any = "*" in allowed

    def has(self, origin: str, own: Authority | None) -> bool:
        """`own` is what the request's Host header says."""
        found = _origin_of(origin)
        if self.are_any or found is None:
            return self.are_any
        scheme, host, port = found
        if own is not None and (own.host, own.port or _PORTS[scheme]) == (host, port):
            return True
        return found in self._allowed


def _origin_of(text: str) -> tuple[str, str, int] | None:
    """(scheme, host, port), or None for `null` and other schemes."""
    scheme, _, rest = text.lower().partition("://")
    authority = authority_of(rest) if scheme in _PORTS else None
    return None if authority is None else (scheme, authority.host, authority.port or _PORTS[scheme])


class PagesGuard:
    """ASGI middleware. Refuses with an ApiError (403), for Telemetry to answer. None of `hosts` or `origins`: not looked at."""

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
        if not origins and not self._origins.are_any and _is_part_of_a_foreign_page(scope, headers):
            raise _origin_refused("pages of other sites")


def _is_part_of_a_foreign_page(scope: Scope, headers: dict[bytes, list[bytes]]) -> bool:
    """Whether a page of another site asks for it, other than by leading its reader here."""
    if not _OTHER_SITES & {each.lower() for each in headers.get(b"sec-fetch-site", ())}:
        return False
    is_visit = headers.get(b"sec-fetch-mode") == [b"navigate"] and headers.get(b"sec-fetch-dest") == [b"document"]
    return not is_visit or scope.get("method") not in ("GET", "HEAD")


def _host_refused(host: str) -> ApiError:
    message = (
        f"This service does not answer to the host {cut(host)!r}: without API keys, a name that is not its own may be that of a "
        "hostile page. --allowed-hosts (LLMCORE_ALLOWED_HOSTS) names those that are."
    )
    return ApiError(403, "host_not_allowed", message)


def _origin_refused(whose: str) -> ApiError:
    message = (
        f"Requests of {whose} are refused: without API keys, this service serves its own pages only. "
        "--cors-origins (LLMCORE_CORS_ORIGINS) allows origins."
    )
    return ApiError(403, "origin_not_allowed", message)
