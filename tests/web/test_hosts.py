"""By which names a server may be asked for; a page that has its name point here cannot use any of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagequeue.errors import QueueFull
from imagequeue.web.hosts import ANY, PROBES, Hosts, names_for
from tests.support.inprocess import Service
from tests.support.pictures import picture

MakeService = Callable[..., Service]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("localhost", True),
        ("LocalHost:5000", True),
        ("localhost.", True),
        ("127.0.0.1:5000", True),
        ("[::1]:5000", True),
        ("images.localhost:5000", True),
        (None, True),
        ("images.example.org", False),
        ("localhost.example.org", False),
        ("notlocalhost", False),
        ("127.0.0.1.example.org", False),
        ("127.0.0.1:5000@example.org", False),
        ("example.org:localhost", False),
        ("192.168.1.5", False),
        ("[::2]", False),
        ("local\thost", False),
    ],
)
def test_at_home_only_the_names_of_the_machine_itself_are_allowed(
    address: str, host: str | None, is_allowed: bool
) -> None:
    assert Hosts(names_for(address)).allows(host) == is_allowed


def test_the_address_itself_is_among_them() -> None:
    assert Hosts(names_for("127.0.0.2")).allows("127.0.0.2:80")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "", "images.example.org"])
def test_elsewhere_every_name_is_allowed_if_nothing_else_is_said(address: str) -> None:
    assert names_for(address) == (ANY,)
    assert Hosts(names_for(address)).allows("anything.example")


@pytest.mark.parametrize(
    ("allowed", "host", "is_allowed"),
    [
        (("images.example.org",), "images.example.org:443", True),
        (("images.example.org",), "www.images.example.org", False),
        ((".example.org",), "images.example.org", True),
        ((".example.org",), "example.org", True),
        ((".example.org",), "badexample.org", False),
        (("a.example", "[fd00::1]"), "[fd00::1]:8080", True),
        (("a.example",), "localhost", False),
        (("*",), "whatever", True),
    ],
)
def test_names_and_what_is_below_them_can_be_allowed(allowed: tuple[str, ...], host: str, is_allowed: bool) -> None:
    assert Hosts(allowed).allows(host) == is_allowed


@pytest.mark.parametrize("path", ["/", "/predict", "/stats", "/static/page.js", "/openapi.json", "/nowhere"])
def test_another_host_is_refused_with_the_setting_that_would_allow_it(path: str, make_service: MakeService) -> None:
    client = make_service(hosts=Hosts(names_for("127.0.0.1")), cors_origins=["*"]).client
    for method in ("GET", "POST", "OPTIONS"):
        response = client.open(path, method=method, headers={"Host": "rebound.example:5000"})
        assert response.status_code == 421
        assert response.json["error"]["code"] == "wrong_host"
        assert response.json["error"]["message"].endswith("To allow it, set ALLOWED_HOSTS=rebound.example.")


def test_a_host_that_is_none_is_not_repeated(make_service: MakeService) -> None:
    client = make_service(with_worker=False, hosts=Hosts(("a.example",))).client
    response = client.get("/", headers={"Host": "<b>\x7f"})
    assert response.status_code == 421
    assert response.json["error"]["message"].startswith("The Host is not one of this server's names")


def test_probes_answer_whatever_host_they_are_asked_for_by(make_service: MakeService) -> None:
    client = make_service(hosts=Hosts(names_for("127.0.0.1"))).client
    for path in PROBES:
        for host in ("10.0.0.7:5000", "x", "probe"):
            assert client.get(path, headers={"Host": host}).status_code == 200, path


def test_a_request_that_is_refused_in_the_event_loop_is_judged_by_its_host_too(make_service: MakeService) -> None:
    rebuffs = make_service(with_worker=False, hosts=Hosts(("a.example",))).app.extensions["rebuffs"]
    head = "POST /predict HTTP/1.1\r\nHost: {}\r\nContent-Length: 1\r\n\r\n"
    assert rebuffs.rebuff(head.format("a.example").encode(), QueueFull("Full."), 0.0) is not None
    assert rebuffs.rebuff(head.format("b.example").encode(), QueueFull("Full."), 0.0) is None


def test_an_image_is_answered_under_an_allowed_name(make_service: MakeService) -> None:
    client = make_service(hosts=Hosts((".example.org",))).client
    headers = {"Host": "images.example.org", "Content-Type": "image/png"}
    assert client.post("/predict", data=picture(1), headers=headers).status_code == 200
