"""Who may see and steer: the token, sessions, and what keeps a foreign page in the same browser from using them."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from aiohttp import web

from mailculator import lifecycle
from mailculator.clock import Clock
from mailculator.web.admin.answers import Refusal
from mailculator.web.admin.asking import NAME_LIMIT
from mailculator.web.admin.routing import Route

COOKIE = "mailculator_session"
SESSION_AGE = 12 * 3600.0
"""Seconds that a session lasts: a shift."""
SESSIONS = 1000
"""Sessions at once; one more ends the oldest."""
FREE_FAILURES = 5
"""Wrong tokens from one address before it has to wait."""
LONGEST_WAIT = 60.0
"""Seconds; it doubles with each further failure up to this."""
FORGET_AFTER = 900.0
"""Seconds after which an address's failures are forgotten."""
ADDRESSES = 10_000
"""Addresses whose failures are remembered; whoever has more of them at hand is not stopped by waiting anyway."""

_LOCAL_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in.

    Arguments:
        name: who; goes to histories and the audit list.
        csrf: what the page's script sends along with each action, and no other page can read.
        until: monotonic seconds.
    """

    name: str
    csrf: str
    until: float
    key: str = field(repr=False)


class Access:
    """Lets requests in or not. Sessions live in memory: a restart, or another replica, asks for the token again.

    Arguments:
        token: "" where none is set; then only this machine reaches us, and a name will do.
    """

    def __init__(self, token: str, *, clock: Clock) -> None:
        self._token = token.encode()
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._failures = _Failures(clock)

    @property
    def token_needed(self) -> bool:
        """Whether a token is set."""
        return bool(self._token)

    def check_origin(self, request: web.BaseRequest) -> None:
        """Refuse what a page of another origin sends, as far as that can be told without knowing our own names.

        Without a token only names of this machine are ours: a foreign name that leads here is rebinding. With one, the
        token keeps it out. Errors: Refusal.
        """
        if not self._token and not _LOCAL_HOST.fullmatch(request.headers.get("Host", "")):
            raise Refusal(403, "Without MAILCULATOR_ADMIN_TOKEN this is reached as localhost or 127.0.0.1 alone.")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if request.path.startswith("/api/") and site not in {"none", "same-origin"}:
            raise Refusal(403, "Pages of other origins have no business here.")

    def admit(self, request: web.BaseRequest, route: Route) -> str:
        """Who asks; "" for a route that is open, and for a program that only reads. Errors: Refusal."""
        if route.open:
            return ""
        bearer = _bearer(request)
        if bearer is not None:
            self._prove(request, bearer)
            return _named(request) if route.acts else ""
        session = self.session(request)
        if session is None:
            raise Refusal(401, "Sign in first.", headers={"WWW-Authenticate": "Bearer"})
        if route.acts:
            self.check_csrf(request, session)
        return session.name

    def session(self, request: web.BaseRequest) -> Session | None:
        """The session that the request's cookie names."""
        found = self._sessions.get(request.cookies.get(COOKIE, ""))
        if found is not None and not self.lasts(found):
            del self._sessions[found.key]
            return None
        return found

    def lasts(self, session: Session) -> bool:
        """Whether a session is one still."""
        return session.key in self._sessions and self._clock.now() < session.until

    def sign_in(self, request: web.BaseRequest, name: str, token: str) -> Session:
        """A new session. Errors: Refusal where the token is wrong."""
        if self._token:
            self._prove(request, token)
        while len(self._sessions) >= SESSIONS:
            self._sessions.popitem(last=False)
        until = self._clock.now() + SESSION_AGE
        session = Session(name, secrets.token_urlsafe(32), until, secrets.token_urlsafe(32))
        self._sessions[session.key] = session
        return session

    def sign_out(self, session: Session) -> None:
        """End a session."""
        self._sessions.pop(session.key, None)

    def check_csrf(self, request: web.BaseRequest, session: Session) -> None:
        """Errors: Refusal where the request does not come from the page's own script."""
        given = request.headers.get("X-CSRF-Token", "")
        if not _equal(given, session.csrf.encode()):
            raise Refusal(403, "X-CSRF-Token is missing or wrong: reload the page.")

    def _prove(self, request: web.BaseRequest, token: str) -> None:
        """Errors: Refusal where the token is wrong, or where it is not even looked at."""
        peer = _peer(request)
        wait = self._failures.wait(peer)
        if wait > 0:
            after = str(int(wait) + 1)
            raise Refusal(429, f"Too many wrong tokens: try again in {after} s.", headers={"Retry-After": after})
        if not self._token or not _equal(token, self._token):
            self._failures.count(peer)
            raise Refusal(401, "The token is wrong.", field="token", headers={"WWW-Authenticate": "Bearer"})
        self._failures.forget(peer)


class _Failures:
    """Wrong tokens by the address that they came from, and how long it has to wait for its next try."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, peer: str) -> float:
        count, last = self._seen.get(peer, (0, 0.0))
        if count < FREE_FAILURES:
            return 0.0
        return last + min(2.0 ** (count - FREE_FAILURES), LONGEST_WAIT) - self._clock.now()

    def count(self, peer: str) -> None:
        now = self._clock.now()
        count, last = self._seen.pop(peer, (0, now))
        if now - last > FORGET_AFTER:
            count = 0
        while len(self._seen) >= ADDRESSES:
            self._seen.popitem(last=False)
        self._seen[peer] = (min(count + 1, 1000), now)

    def forget(self, peer: str) -> None:
        self._seen.pop(peer, None)


def cookie(response: web.StreamResponse, request: web.BaseRequest, session: Session) -> None:
    """Hand the session to a browser, out of reach of scripts and of other sites.

    We speak no TLS ourselves and believe no forwarded header, but a browser says how it came: by its own Origin.
    """
    secure = request.secure or request.headers.get("Origin", "").startswith("https://")
    response.set_cookie(COOKIE, session.key, path="/", httponly=True, samesite="Strict", secure=secure)


def forget_cookie(response: web.StreamResponse) -> None:
    """Take it back."""
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")


def _bearer(request: web.BaseRequest) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _named(request: web.BaseRequest) -> str:
    name = lifecycle.clean(request.headers.get("X-Operator", ""))
    if not name or len(name) > NAME_LIMIT:
        raise Refusal(
            400, f"Say in X-Operator who answers for this, in 1 to {NAME_LIMIT} characters.", field="X-Operator"
        )
    return name


def _peer(request: web.BaseRequest) -> str:
    """Where it came from; of IPv6 the network, since any machine has as many addresses of it as it likes."""
    text = (request.remote or "").partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _equal(given: str, wanted: bytes) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogateescape"), wanted)
