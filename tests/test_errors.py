"""The error tree: what its docstring draws is what its classes are."""

from __future__ import annotations

import re

import pytest

from imagequeue import errors
from imagequeue.errors import DeadlineExceeded, ImageQueueError, JobFailed, JobLost, Unavailable, from_code


def classes() -> dict[str, type[ImageQueueError]]:
    found = {}
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, ImageQueueError):
            found[name] = value
    return found


def drawn() -> dict[str, tuple[str | None, int | None]]:
    """Each name in the docstring's tree, with the name above it and the status beside it, if there is one."""
    found: dict[str, tuple[str | None, int | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ((?:│   |    )*(?:[├└]── )?)(\w+)(?: +(\d{3})\b)?", line)
        if match:
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            found[match[2]] = (path[depth - 1] if depth else None, int(match[3]) if match[3] else None)
    return found


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    tree = drawn()
    assert set(tree) == set(classes())
    for name, (above, status) in tree.items():
        error = classes()[name]
        assert above is None or error.__bases__ == (classes()[above],), name
        assert status is None or error.status == status, name


def test_no_two_errors_that_a_client_may_see_share_a_code() -> None:
    leaves = [c for c in classes().values() if not c.__subclasses__()]
    codes = [c.code for c in leaves if not issubclass(c, errors.ConfigurationError)]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def test_an_error_is_its_message() -> None:
    error = errors.QueueFull("The queue is full.", retry_after=7)
    assert (str(error), error.message, error.retry_after) == ("The queue is full.", "The queue is full.", 7)
    assert Unavailable("Away.").retry_after == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [("deadline_exceeded", DeadlineExceeded), ("job_lost", JobLost), ("job_failed", JobFailed), ("new", JobFailed)],
)
def test_what_a_script_wrote_into_an_envelope_is_raised_as_its_class(code: str, error: type[ImageQueueError]) -> None:
    found = from_code(code, "Because.")
    assert type(found) is error
    assert found.message == "Because."
