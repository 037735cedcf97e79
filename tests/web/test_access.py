"""Keys and limits together, through the whole application."""

from __future__ import annotations

import base64
import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import redis

from imagequeue.web.access import Access
from imagequeue.web.keys import ApiKeys
from imagequeue.web.ratelimit import RateLimit
from tests.support.inprocess import Service
from tests.support.monitor import Monitor
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer

MakeService = Callable[..., Service]
KEYS = ApiKeys([("alice", "correct-horse"), ("bob", "battery-staple")])


def post(service: Service, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return service.client.post("/predict", data=picture(1), content_type="image/png", headers=named)


@pytest.fixture
def limited(each_redis: RedisServer, make_service: MakeService) -> Callable[..., Service]:
    def make(rate: str, **access: Any) -> Service:
        limit = RateLimit(rate, redis_url=each_redis.url, queue_name="image_queue")
        return make_service(access=Access(limit=limit, **access))

    return make


def test_with_a_key_an_image_is_classified_and_without_one_it_is_401_in_the_services_own_form(
    make_service: MakeService,
) -> None:
    service = make_service(access=Access(keys=KEYS))
    assert post(service, Authorization="Bearer correct-horse").status_code == 200
    refused = post(service)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="imagequeue"'
    assert refused.json["success"] is False
    assert refused.json["error"]["code"] == "unauthorized"
    assert refused.json["id"] == refused.headers["X-Request-ID"]
    assert "invalid_token" in post(service, X_API_Key="wrong").headers["WWW-Authenticate"]


def test_probes_need_no_key_and_everything_else_does(make_service: MakeService) -> None:
    service = make_service(access=Access(keys=KEYS))
    for path in ("/livez", "/readyz"):
        assert service.client.get(path).status_code == 200, path
    for path in ("/v2/health/live", "/v2/health/ready", "/", "/static/nothing.js"):
        assert service.client.get(path).status_code in (200, 404), path
    for path in ("/stats", "/metrics", "/nowhere", "/predict", "/v2/models/resnet50", "/livez/", "/static"):
        assert service.client.get(path).status_code == 401, path


def test_the_name_of_the_key_stands_in_the_log_and_the_key_does_not(
    make_service: MakeService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="imagequeue")
    service = make_service(access=Access(keys=KEYS))
    post(service, Authorization="Bearer correct-horse")
    post(service, X_API_Key="nearly-correct-horse")
    logged = [(record.msg, getattr(record, "fields", {})) for record in caplog.records]
    assert [fields["client"] for action, fields in logged if action == "admitted"] == ["alice"]
    assert "correct-horse" not in repr(logged)


def test_beyond_the_limit_it_is_429_with_the_seconds_to_wait(limited: Callable[..., Service]) -> None:
    service = limited("2/hour")
    first, second, third = (post(service) for _ in range(3))
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert [r.headers["RateLimit-Remaining"] for r in (first, second, third)] == ["1", "0", "0"]
    assert third.headers["RateLimit-Policy"] == "2;w=3600"
    assert third.headers["RateLimit-Limit"] == "2"
    assert 1 <= int(third.headers["Retry-After"]) <= 7200
    assert third.headers["Retry-After"] == third.headers["RateLimit-Reset"]
    assert third.json["error"]["code"] == "too_many_requests"
    assert service.client.get("/readyz").status_code == 200


def form(*numbers: int) -> dict[str, Any]:
    return {"data": {"image": [(io.BytesIO(picture(number)), "a.png") for number in numbers]}}


def as_json(field: str, each: Callable[[str], Any], count: int, around: Callable[[list[Any]], Any]) -> dict[str, Any]:
    return {"json": {field: around([each(base64.b64encode(picture(n)).decode()) for n in range(count)])}}


THREE_IMAGES = {
    "/predict": form(1, 2, 3),
    "/predict?top=2": as_json("images", str, 3, list),
    "/predict?top=1": form(1, 2, 3) | {"headers": {"Prefer": "respond-async"}},
    "/v1/models/null:predict": as_json("instances", lambda text: {"b64": text}, 3, list),
    "/v1/models/null:classify": as_json("examples", lambda text: {"image": {"b64": text}}, 3, list),
    "/v2/models/null/infer": as_json(
        "inputs", str, 3, lambda data: [{"name": "image", "datatype": "BYTES", "shape": [3], "data": data}]
    ),
}


@pytest.mark.parametrize("path", THREE_IMAGES)
def test_each_image_counts_in_every_protocol(limited: Callable[..., Service], path: str) -> None:
    service = limited("5/hour")
    sent = copy.deepcopy(THREE_IMAGES[path])
    first = service.client.post(path, **sent)
    assert first.status_code in (200, 202), first.text
    assert (first.headers["RateLimit-Limit"], first.headers["RateLimit-Remaining"]) == ("5", "2")
    sent = copy.deepcopy(THREE_IMAGES[path])
    decoded = service.queue.stats().get("enqueued")
    second = service.client.post(path, **sent)
    assert second.status_code == 429
    assert "images" in second.text
    # What the door has counted of it is gone; nothing of it was computed.
    assert second.headers["RateLimit-Remaining"] == "1"
    assert int(second.headers["Retry-After"]) > 3600 / 5
    assert service.queue.stats().get("enqueued") == decoded
    assert [post(service).status_code for _ in range(2)] == [200, 429]


def test_a_request_of_more_images_than_the_whole_limit_is_told_to_be_split(
    limited: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = limited("3/hour")
    monkeypatch.setattr(service.classifier.decoders, "decode", None)
    refused = service.client.post("/predict", **form(1, 2, 3, 4))
    assert (refused.status_code, refused.json["error"]["code"]) == (413, "too_large")
    assert refused.json["error"]["message"] == (
        "This request has 4 images, and RATE_LIMIT allows 3 in 3600 s: split it."
    )
    # Waiting would not help.
    assert "Retry-After" not in refused.headers
    assert refused.headers["RateLimit-Remaining"] == "2"


def test_as_many_images_as_the_whole_limit_are_one_request(limited: Callable[..., Service]) -> None:
    service = limited("3/hour")
    answer = service.client.post("/predict", **form(1, 2, 3))
    assert (answer.status_code, answer.headers["RateLimit-Remaining"]) == (200, "0")
    assert post(service).status_code == 429


def test_while_the_count_is_away_many_images_pass_as_one_does_and_no_header_claims_anything(
    limited: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = limited("3/hour")
    count = RateLimit.count
    monkeypatch.setattr(RateLimit, "count", lambda limit, client, n, again: None if n > 1 else count(limit, client))
    answer = service.client.post("/predict", **form(1, 2, 3))
    assert answer.status_code == 200
    assert not [name for name, _ in answer.headers if name.startswith("RateLimit")]


def test_each_key_has_a_share_of_its_own(limited: Callable[..., Service]) -> None:
    service = limited("1/hour", keys=KEYS)
    assert [post(service, X_API_Key="correct-horse").status_code for _ in range(2)] == [200, 429]
    assert post(service, X_API_Key="battery-staple").status_code == 200


def test_each_address_has_a_share_of_its_own_as_the_trusted_proxy_names_it(limited: Callable[..., Service]) -> None:
    service = limited("1/hour", trusted_proxies=1)
    assert post(service, X_Forwarded_For="198.51.100.1").status_code == 200
    assert post(service, X_Forwarded_For="198.51.100.2").status_code == 200
    # What the client itself put in front of the proxy's entry counts for nothing.
    assert post(service, X_Forwarded_For="203.0.113.9, 198.51.100.1").status_code == 429


@pytest.mark.parametrize("quote", ['"', '"{}', '"\\', 'a"b{}'])
def test_nobody_escapes_his_share_by_a_quote_before_the_trusted_proxys_entry(
    limited: Callable[..., Service], quote: str
) -> None:
    service = limited("1/hour", trusted_proxies=1)
    forwarded = [f"{quote.format(n)}, 198.51.100.1" for n in range(3)]
    assert [post(service, X_Forwarded_For=header).status_code for header in forwarded] == [200, 429, 429]
    # Nor is anybody else counted for it, the proxy least of all.
    assert post(service, X_Forwarded_For="198.51.100.2").status_code == 200
    assert post(service).status_code == 200


def test_what_names_nobody_is_one_client_and_never_an_error(
    limited: Callable[..., Service], client: redis.Redis
) -> None:
    service = limited("3/hour", trusted_proxies=1)
    garbage = ["unknown", '"x', "x" * 10_000, "_a1", "b\xe4\xff", "1.2.3.4.5:80", "[::g]:1"]
    answers = [post(service, X_Forwarded_For=each, X_Forwarded_Proto=each) for each in garbage]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 4
    assert len(client.keys("image_queue:limits*")) == 1
    # A port makes no client of its own.
    ported = [post(service, X_Forwarded_For=f"198.51.100.7:{n}").status_code for n in range(4000, 4004)]
    assert ported == [200] * 3 + [429]


def test_addresses_of_one_ipv6_network_share_and_mapped_ones_are_ipv4(limited: Callable[..., Service]) -> None:
    service = limited("2/hour", trusted_proxies=1)

    def statuses(*addresses: str) -> list[int]:
        return [post(service, X_Forwarded_For=address).status_code for address in addresses]

    assert statuses("2001:db8:1:2::1", "2001:db8:1:2::2", "[2001:db8:1:2:ffff::3]:80") == [200, 200, 429]
    assert statuses("2001:db8:1:3::1") == [200]
    assert statuses("198.51.100.1", "::ffff:198.51.100.1", "::ffff:c633:6401", "::ffff:198.51.100.2") == [
        200,
        200,
        429,
        200,
    ]


def test_without_a_trusted_proxy_nobody_escapes_his_share_by_a_header(limited: Callable[..., Service]) -> None:
    service = limited("1/hour")
    assert [post(service, X_Forwarded_For=f"198.51.100.{n}").status_code for n in range(2)] == [200, 429]


def test_two_web_servers_count_together(each_redis: RedisServer, limited: Callable[..., Service]) -> None:
    services = [limited("3/hour"), limited("3/hour")]
    assert [post(services[n % 2]).status_code for n in range(4)] == [200, 200, 200, 429]


def test_what_is_counted_has_a_time_to_live(limited: Callable[..., Service], client: redis.Redis) -> None:
    post(limited("5/minute"))
    counted = client.keys("image_queue:limits*")
    assert counted
    assert all(0 < client.ttl(key) <= 120 for key in counted)


def test_without_keys_and_limit_a_request_costs_redis_one_round_trip(
    make_service: MakeService, client: redis.Redis
) -> None:
    service = make_service(access=Access(), with_worker=True)
    post(service)
    with Monitor(client) as monitor:
        assert post(service).status_code == 200
    web = monitor.commands("web")
    assert web["EXEC"] == 1
    assert not set(web) - {"MULTI", "RPUSH", "EVAL", "EXEC", "PING", "UNLINK"}
