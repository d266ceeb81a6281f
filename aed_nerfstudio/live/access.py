"""Who may use a live avatar, how much may be sent, and how errors are answered."""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import tornado.web

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.errors import InputError, reason
from aed_nerfstudio.outside import parse_json
from aed_nerfstudio.visitors import welcome

LARGEST_BODY = 8 << 20
"""Bytes of one request: two minutes of 16-bit sound at 32 kHz."""
REQUESTS, PERIOD = 40, 10.0
"""Requests in so many seconds."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Access:
    """The address that is listened on, and what a client must know; empty: nothing."""

    host: str
    token: str = ""


class Guarded(tornado.web.RequestHandler):
    """Answers nobody but those who may ask; every error is JSON with one line, `{"error": ...}`."""

    access: Access
    page = False
    """Whether it is of the page's own files, which hold nothing secret and are fetched without a token."""

    def initialize(self, access: Access, **more: Any) -> None:
        """Takes the access, and what a handler works with."""
        self.access = access
        for name, value in more.items():
            setattr(self, name, value)

    def prepare(self) -> None:
        """Refuses strangers; for WebSockets too, before their handshake."""
        headers = self.request.headers
        if len(headers.get_list("Origin")) > 1 or len(headers.get_list("Host")) > 1:
            raise tornado.web.HTTPError(400, "twice the same header")
        if not welcome(self.access.host, headers.get("Origin"), headers.get("Host", "")):
            raise tornado.web.HTTPError(403, "pages of other sites may not connect; open the page by its own address")
        if self.page or not self.access.token:
            return
        given = headers.get("Authorization", "").removeprefix("Bearer ") or self.get_query_argument("token", "")
        if not hmac.compare_digest(given.encode(), self.access.token.encode()):
            raise tornado.web.HTTPError(401, "the token is missing or wrong; add ?token=... or a header Authorization")

    def set_default_headers(self) -> None:
        """Lets a page load nothing from elsewhere, and be in no other."""
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answers an error by one line; without a traceback, which is in nobody's interest."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        text = None
        if isinstance(error, tornado.web.HTTPError):
            text = error.log_message and error.log_message % error.args
        elif error is not None:
            text = reason(error)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"error": text or HTTPStatus(status_code).phrase}))

    def log_exception(self, *arguments: Any) -> None:
        """Says nothing of bad requests; of our own faults one line."""
        if arguments[0] is not None and not issubclass(arguments[0], tornado.web.HTTPError):
            print(f"live: {reason(arguments[1])}", flush=True)

    def asked(self) -> dict[str, Any]:
        """Returns the request's JSON object; InputError where it is none."""
        return json_object(self.request.body)

    def answer(self, **facts: object) -> None:
        """Answers JSON."""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(facts))


def json_object(body: bytes | str) -> dict[str, Any]:
    """Returns what a message holds; empty ones hold nothing.

    Raises:
        InputError: no JSON object.
    """
    try:
        found = parse_json(body.decode("utf-8") if isinstance(body, bytes) else body) if body else {}
    except ValueError as error:
        raise InputError(f"the message is no JSON ({str(error)[:80]})") from error
    if not isinstance(found, dict):
        raise InputError('the message is no JSON object; send one such as {"text": "Hello"}')
    return found


def rate_of(content_type: str) -> int:
    """Returns the samples a second that a Content-Type such as `audio/L16;rate=24000` says; 16000 without."""
    found = re.search(r"rate=(\d{1,7})\b", content_type)
    return int(found[1]) if found else SAMPLE_RATE
