"""The errors of Gunicorn's parser quote the client; redacted, they do not."""

from __future__ import annotations

import inspect

import pytest
from gunicorn.http import errors

from imagequeue.web.redaction import QUOTATIONS, redact

SECRET = "k-decafbad"
# Each error of the parser with the name of what it is made of.
QUOTING = [
    (kind, next(iter(inspect.signature(kind).parameters)))
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__ and "__init__" in vars(kind)
]


@pytest.mark.parametrize("kind", [kind for kind, name in QUOTING if name in QUOTATIONS])
@pytest.mark.parametrize("quoted", [SECRET, SECRET.encode(), f"X-API-Key {SECRET}"])
def test_every_error_that_quotes_says_how_long_the_quotation_is(kind: type[Exception], quoted: str | bytes) -> None:
    error = kind(quoted)
    assert SECRET in str(error)
    redact(error)
    assert SECRET not in str(error)
    assert f"({len(quoted)} characters)" in str(error)


def test_all_arguments_of_gunicorns_errors_are_known() -> None:
    """A new one would have to be looked at: does it quote the client?"""
    others = {(kind.__name__, name) for kind, name in QUOTING if name not in QUOTATIONS}
    assert others <= {
        # Gunicorn's own words, a number, and the proxy's address.
        ("ConfigurationProblem", "info"),
        ("InvalidChunkExtension", "reason"),
        ("InvalidProxyHeader", "msg"),
        ("LimitRequestHeaders", "msg"),
        ("LimitRequestLine", "size"),
        ("ForbiddenProxyRequest", "host"),
    }


def test_a_field_whose_value_alone_is_wrong_is_named_and_another_error_is_left_as_it_is() -> None:
    for name in ("AUTHORIZATION", "CONTENT-LENGTH"):
        error = errors.InvalidHeader(name)
        redact(error)
        assert name in str(error)
    request = object()
    error = errors.InvalidHeader("x", req=request)
    redact(error)
    assert error.req is request
    other = ValueError("as it was")
    redact(other)
    assert str(other) == "as it was"
