"""Who may come in, and how often: the first thing that is asked of a request, before its body is read."""

from __future__ import annotations

from flask import Flask, g, request
from werkzeug.sansio.request import Request

from imagequeue.errors import TooLarge, TooMany, Unauthorized
from imagequeue.events import log
from imagequeue.web.forwarded import Forwarded, address_of, client_at
from imagequeue.web.guesses import Guesses
from imagequeue.web.keys import ApiKeys, WrongKey
from imagequeue.web.owner import EVERYBODY, NOBODY
from imagequeue.web.ratelimit import RateLimit

# What needs no key: probes, which tell nothing about anybody, and the pages with their files, in which a visitor
# types his key. Everything else does, paths that do not exist too.
OPEN_PATHS = frozenset({"/", "/dashboard", "/livez", "/readyz", "/openapi.json", "/docs", "/favicon.ico"})
OPEN_PREFIXES = ("/v2/health/", "/static/", "/samples/")


class Access:
    """The rules; without keys and without a limit it lets everybody in, and asks nobody."""

    def __init__(
        self,
        *,
        keys: ApiKeys | None = None,
        limit: RateLimit | None = None,
        guesses: Guesses | None = None,
        trusted_proxies: int = 0,
    ) -> None:
        """guesses: counts wrong keys; without one this process does by itself.

        trusted_proxies: how many proxies in front add to X-Forwarded-For; what stands before theirs is a claim.
        """
        self._keys = keys
        self._limit = limit
        self._guesses = guesses or Guesses()
        self._trusted_proxies = trusted_proxies

    def guard(self, app: Flask) -> None:
        """Have `app` ask here before each of its requests."""
        if self._trusted_proxies:
            app.wsgi_app = Forwarded(app.wsgi_app, self._trusted_proxies)  # type: ignore[method-assign]
        if self._keys or self._limit:
            app.before_request(self.check)

    def client_of(self, request: Request) -> str:
        """The name of the API key that the request carries; empty where none is asked for. Raises Unauthorized."""
        return self._keys.client_of(request) if self._keys else ""

    def check(self) -> None:
        """Raises Unauthorized or TooMany; leaves the client's name, or its address, in `g.client`, its jobs' owner in
        `g.owner`.

        `g.headers`, where it is set, belongs on the answer, whoever writes it.
        """
        g.owner = NOBODY if self._keys else EVERYBODY
        if request.path in OPEN_PATHS or request.path.startswith(OPEN_PREFIXES):
            return
        address = address_of(request.remote_addr or "")
        g.client = address
        if self._keys:
            try:
                g.owner = self._keys.owner_of(request)
                g.client = g.owner.name
            except Unauthorized as error:
                if isinstance(error, WrongKey):
                    self._count_guess(client_at(address))
                g.headers = {"WWW-Authenticate": error.challenge}
                raise
        log("admitted", request=g.request_id, client=g.client)
        # What computes is counted; asking how a job is doing is not.
        if self._limit and request.method == "POST":
            g.share = f"key:{g.client}" if self._keys else f"address:{client_at(address)}"
            # The first image before the body is read; `charge` counts the others.
            self._count(self._limit, 1, again=1)

    def _count_guess(self, client: str) -> None:
        seconds = self._guesses.count(client)
        if seconds:
            # One line in the log is enough for all of them.
            g.is_logged = True
            g.headers = {"Retry-After": str(seconds)}
            raise TooMany(f"Too many wrong API keys came from this address; wait {seconds} s.")

    def charge(self, images: int) -> None:
        """Count the images of a request, now that it is known how many. Raises TooMany, TooLarge."""
        if self._limit is None:
            return
        if images > self._limit.most:
            raise TooLarge(
                f"This request has {images} images, and RATE_LIMIT allows {self._limit.most} in "
                f"{self._limit.seconds} s: split it."
            )
        if images > 1:
            self._count(self._limit, images - 1, again=images)

    def _count(self, limit: RateLimit, images: int, *, again: int) -> None:
        allowance = limit.count(g.share, images, again=again)
        g.headers = allowance.headers() if allowance is not None else {}
        if allowance is not None and not allowance.is_allowed:
            g.headers["Retry-After"] = str(allowance.seconds)
            raise TooMany(f"More than {allowance.limit} images in {allowance.window} s; wait {allowance.seconds} s.")
