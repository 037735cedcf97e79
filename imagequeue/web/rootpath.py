"""The prefix below which a proxy serves this application, as `/images`: ROOT_PATH.

The proxy passes the path on as it is, with the prefix. One that cut it off could be passed by: behind its rule for
/images/metrics a path /images/images/metrics would become that very path. So only what has the prefix is served, once,
and nothing of a request says what the prefix is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, request

from imagequeue.errors import NotFound
from imagequeue.web.hosts import PROBES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Set on a request whose path does not begin with the prefix.
_OUTSIDE = "imagequeue.is_outside"


class RootPath:
    """Of one application. Without a prefix it still keeps a server in front of it from setting one."""

    def __init__(self, prefix: str = "") -> None:
        """prefix: with a slash at its beginning and none at its end, or empty."""
        self.prefix = prefix

    def below(self, path: str) -> str | None:
        """`path` without the prefix; None where it does not have it. The probes are there without it, too."""
        if not self.prefix or path in PROBES:
            return path
        if path == self.prefix:
            return "/"
        return path.removeprefix(self.prefix) if path.startswith(f"{self.prefix}/") else None

    def guard(self, app: Flask) -> None:
        """Have `app` served below the prefix; call it after all that looks at a request first."""
        inner: WSGIApplication = app.wsgi_app

        def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            # `gunicorn run_web_server:app` takes a header SCRIPT_NAME from 127.0.0.1, and cuts it off the path.
            path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
            below = self.below(path)
            environ["SCRIPT_NAME"] = "" if below == path else self.prefix
            environ["PATH_INFO"] = path if below is None else below
            environ[_OUTSIDE] = below is None
            return inner(environ, start_response)

        app.wsgi_app = serve  # type: ignore[method-assign]
        if self.prefix:
            app.before_request(self._check)

    def _check(self) -> None:
        """Raises NotFound."""
        if request.environ[_OUTSIDE]:
            raise NotFound(f"All paths of this server begin with {self.prefix} (ROOT_PATH); the proxy passes it on.")
