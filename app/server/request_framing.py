"""Request framing, stricter than h11's: refuses requests whose end two parsers could see at different places (request smuggling).

A proxy and this service must agree where a request ends. h11 is lenient about line ends, folded lines, repeated lengths and
chunk extensions. The checks here see the raw bytes before h11 does.
"""

from __future__ import annotations

import re

import h11

# The head of a request, with its blank line, however it arrives. h11 bounds only incomplete ones.
HEAD_MAX_BYTES = 64 * 2**10
# The size line of one chunk, and the extensions of all chunks of a body.
CHUNK_LINE_MAX_BYTES = 256
EXTENSIONS_MAX_BYTES = 16 * 2**10
TRAILERS_MAX_BYTES = 8 * 2**10
# Each chunk costs time in the event loop. Beyond N_SMALL_CHUNKS, chunks must have this mean size.
N_SMALL_CHUNKS = 4096
CHUNK_MEAN_BYTES = 64

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NAME = re.compile(_TOKEN)
_REQUEST_LINE = re.compile(_TOKEN + rb" ([\x21-\x7e]+) HTTP/1\.([01])")
_HEAD_END = re.compile(rb"\n\r?\n")  # as in h11
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=%:\[\]-]*")
_URL = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")
_HTTP_URL = re.compile(rb"(?i:https?)://([A-Za-z0-9._~!$&'()*+;=%:\[\]-]+)((?:[/?].*)?)")
_LENGTH = re.compile(rb"[0-9]{1,19}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t\x20-\x7e\x80-\xff]*)?")
# Trailers may not change how the request was framed or routed.
_NOT_IN_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"host"})

_HEAD_TOO_LONG = f"The head of the request is too large: at most {HEAD_MAX_BYTES} bytes are accepted."
_BAD_LINE = "The request line is malformed or is not HTTP/1.1 or HTTP/1.0."
_BAD_URL = "The target of the request is a URL, but not of the form http://host/path."
_BAD_LINE_END = "A line of the head does not end in CRLF."
_BAD_CHUNK = "A chunk of the body is malformed."


class StrictConnection(h11.Connection):
    """Server side of an h11 connection. After a refusal, `next_event` raises RemoteProtocolError on every call, and `problem` is
    the reason, a sentence; it is empty before."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, HEAD_MAX_BYTES)
        self._is_line_checked = False
        self._n_searched = 0  # received bytes of the current head that do not contain its end
        self._body: ChunkedBody | None = None
        self.problem = ""

    @property
    def is_head_too_long(self) -> bool:
        """True if the refusal is that of a head above the limit."""
        return self.problem == _HEAD_TOO_LONG

    def receive_data(self, data: bytes) -> None:
        """Takes received bytes, checking those of a chunked body first."""
        self._check_body(data)
        super().receive_data(data)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.IDLE and not self.problem:
            self.problem = self._check_head(self.trailing_data[0])
        if self.problem:
            raise h11.RemoteProtocolError(self.problem)
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._is_line_checked, self._n_searched = False, 0
            event = self._in_origin_form(event)
            if any(name == b"transfer-encoding" for name, _ in event.headers):
                self._body = ChunkedBody()
                self._check_body(self.trailing_data[0])
        elif isinstance(event, h11.EndOfMessage):
            self._body = None
        return event

    @staticmethod
    def _in_origin_form(request: h11.Request) -> h11.Request:
        """Returns the request with a path as its target. If the target was a URL, its host replaces the Host that was received,
        which does not count then (RFC 9112, 3.2.2). So hosts and origins are checked against the URL's."""
        matched = _HTTP_URL.fullmatch(request.target)
        if matched is None:
            return request
        host, path = matched[1], matched[2]
        headers = [(b"Host", host), *(each for each in request.headers.raw_items() if each[0].lower() != b"host")]
        target = path if path.startswith(b"/") else b"/" + path
        return h11.Request(method=request.method, headers=headers, target=target, http_version=request.http_version)

    def _check_body(self, data: bytes) -> None:
        if self._body is not None and not self.problem:
            self.problem = self._body.feed(data)

    def _check_head(self, received: bytes) -> str:
        # The end may begin up to two bytes before the received part.
        if end := _HEAD_END.search(received, max(0, self._n_searched - 2)):
            return find_head_problem(received[: end.end()])
        if received and received[0] <= 0x20:  # as in h11, which needs no complete line for it
            return _BAD_LINE
        if len(received) > HEAD_MAX_BYTES:
            return _HEAD_TOO_LONG
        self._n_searched = len(received)
        first, newline, _ = received.partition(b"\n")
        if not newline or self._is_line_checked:
            return ""
        # Checked before the head is complete: a request of HTTP/0.9 has only this line.
        self._is_line_checked = True
        return "" if _REQUEST_LINE.fullmatch(first.removesuffix(b"\r")) else _BAD_LINE


def find_head_problem(head: bytes) -> str:
    """Returns the reason to refuse a complete head, including its blank line; empty if it is valid."""
    if len(head) > HEAD_MAX_BYTES:
        return _HEAD_TOO_LONG
    if not head.endswith(b"\r\n\r\n"):
        return _BAD_LINE_END
    first, *lines = head[:-4].split(b"\r\n")
    if any(b"\r" in line or b"\n" in line for line in (first, *lines)):
        return _BAD_LINE_END
    matched = _REQUEST_LINE.fullmatch(first)
    if matched is None:
        return _BAD_LINE
    if _URL.match(matched[1]) and not _HTTP_URL.fullmatch(matched[1]):
        return _BAD_URL
    found: dict[bytes, list[bytes]] = {b"content-length": [], b"transfer-encoding": [], b"host": []}
    for line in lines:
        name, value, problem = _parse_field(line)
        if problem:
            return problem
        if name in found:
            found[name].append(value)
    return _find_framing_problem(
        found[b"content-length"], found[b"transfer-encoding"], found[b"host"], is_http_1_0=matched[2] == b"0"
    )


def _parse_field(line: bytes) -> tuple[bytes, bytes, str]:
    """Returns the lower-case name, the value and the problem of a header line; name and value are empty if there is a problem."""
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name):
        return b"", b"", "A header line is malformed: it must be `name: value`, on one line."
    if _CONTROL.search(value):
        return b"", b"", "A header contains a control character."
    return name.lower(), value.strip(b" \t"), ""


def _find_framing_problem(lengths: list[bytes], codings: list[bytes], hosts: list[bytes], *, is_http_1_0: bool) -> str:
    if lengths and codings:
        return "The request has both Content-Length and Transfer-Encoding: send one of them."
    if len(lengths) > 1 or not all(_LENGTH.fullmatch(each) for each in lengths):
        return "Content-Length must be one number."
    if len(codings) > 1 or any(each.lower() != b"chunked" for each in codings):
        return "Transfer-Encoding must be chunked, and nothing else."
    if codings and is_http_1_0:
        return "HTTP/1.0 has no Transfer-Encoding."
    if len(hosts) > 1 or not all(_HOST.fullmatch(each) for each in hosts) or not (hosts or is_http_1_0):
        return "There must be one Host header: a name, optionally with a port."
    return ""


class ChunkedBody:
    """Checks the chunks of one body while it arrives, in parts of any size."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._parse_line = self._parse_size
        self._n_left = 0  # bytes of the current chunk that have not arrived
        self._n_chunks = self._n_bytes = self._n_extensions = self._n_trailers = 0
        self._is_ended = False

    def feed(self, data: bytes) -> str:
        """Returns the reason to refuse the body; empty if it is valid so far. Ignores bytes after its end."""
        position, problem = 0, ""
        while position < len(data) and not self._is_ended and not problem:
            if self._n_left:
                n = min(self._n_left, len(data) - position)
                self._n_left -= n
                position += n
                continue
            end = data.find(b"\n", position) + 1 or len(data)
            self._line += data[position:end]
            position = end
            if len(self._line) > CHUNK_LINE_MAX_BYTES:
                problem = "A line between chunks is too long."
            elif self._line.endswith(b"\n"):
                line, self._line = bytes(self._line), bytearray()
                problem = self._parse_line(line[:-2]) if line.endswith(b"\r\n") else _BAD_CHUNK
        return problem

    def _parse_size(self, line: bytes) -> str:
        matched = _CHUNK_LINE.fullmatch(line)
        if matched is None:
            return _BAD_CHUNK
        self._n_left = int(matched[1], 16)
        self._parse_line = self._parse_chunk_end if self._n_left else self._parse_trailer
        self._n_chunks += 1
        self._n_bytes += self._n_left
        self._n_extensions += len(matched[2] or b"")
        if self._n_extensions > EXTENSIONS_MAX_BYTES:
            return "The extensions of chunks are too long."
        if self._n_chunks > N_SMALL_CHUNKS + self._n_bytes // CHUNK_MEAN_BYTES:
            return "The chunks are too small: send the body in larger ones, or with a Content-Length."
        return ""

    def _parse_chunk_end(self, line: bytes) -> str:
        self._parse_line = self._parse_size
        return _BAD_CHUNK if line else ""

    def _parse_trailer(self, line: bytes) -> str:
        if not line:
            self._is_ended = True
            return ""
        self._n_trailers += len(line)
        name, _, problem = _parse_field(line)
        if name in _NOT_IN_TRAILERS or self._n_trailers > TRAILERS_MAX_BYTES:
            return "A trailer is too long, or its name belongs into the head."
        return problem
