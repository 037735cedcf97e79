"""The dashboard, the alerts and the page about them name what /metrics really shows, and promtool agrees."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable

import pytest
import yaml
from prometheus_client import generate_latest

from imagequeue.workermetrics import WorkerMetrics
from tests.conftest import KINDS, redis_binary
from tests.support.inprocess import Service
from tests.support.outcomes import failed, good
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.scrape import Scrape
from tests.support.system import ROOT, eventually

MONITORING = ROOT / "monitoring"
PAGE = ROOT / "docs" / "monitoring.md"
PROMTOOL = shutil.which("promtool")
# A series of a histogram or a summary is named after its family.
SUFFIXES = re.compile(r"_(bucket|sum|count)$")
SELECTOR = re.compile(r"(imagequeue_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)=~?"([^"]*)"')


def predict(service: Service) -> int:
    return service.client.post("/predict", data=picture(0), content_type="image/png").status_code


@pytest.fixture(scope="module")
def exposition() -> tuple[Scrape, Scrape]:
    """What a web server and a worker show once each kind of thing has happened to them."""
    server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    service = Service(server.url, with_worker=False)
    try:
        assert predict(service) == 503
        service.start_worker()
        eventually(
            lambda: service.client.post("/predict", data=picture(1), content_type="image/png").status_code == 200
        )
        eventually(lambda: Scrape(service.client.get("/metrics").text).value("batch_size_count") >= 1)
        web = Scrape(service.client.get("/metrics").text)
    finally:
        service.stop()
        server.remove()
    metrics = WorkerMetrics()
    metrics.observe([good(80.0, 20), failed()])
    return web, Scrape(generate_latest(metrics.registry).decode())


@pytest.fixture
def shown(exposition: tuple[Scrape, Scrape]) -> dict[str, list[dict[str, str]]]:
    """The labels of all series, by name."""
    found: dict[str, list[dict[str, str]]] = {}
    for scrape in exposition:
        for name, labels in scrape.series:
            found.setdefault(name, []).append(dict(labels))
    return found


def expressions() -> list[str]:
    """Every PromQL expression of the dashboard and the alerts."""
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    alerts = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    drawn = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return drawn + [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_series_that_is_drawn_or_alerted_on_exists(
    expression: str, shown: dict[str, list[dict[str, str]]]
) -> None:
    selectors = SELECTOR.findall(expression)
    assert selectors
    grouped = {label.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(",")}
    for name, matchers in selectors:
        assert name in shown, name
        for label, value in MATCHER.findall(matchers):
            values = {labels.get(label) for labels in shown[name]}
            # 500 and 504 have not happened here; that there is such a label is what can be known.
            assert value in values or (label == "code" and None not in values), (name, label, value)
    # Prometheus adds `instance` and `job` itself.
    known = {label for name, _ in selectors for labels in shown[name] for label in labels} | {"instance", "job"}
    assert grouped <= known


def test_the_page_names_each_metric_and_no_other(exposition: tuple[Scrape, Scrape]) -> None:
    families = set()
    for scrape in exposition:
        for name in scrape.names:
            is_counter = name.endswith("_total")
            families.add(name if is_counter else SUFFIXES.sub("", name))
    told = set(re.findall(r"^\| (imagequeue_\w+) \|", PAGE.read_text(), re.MULTILINE))
    assert told == families


def test_the_page_says_what_to_do_about_each_alert() -> None:
    alerts = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    rules = [rule["alert"] for group in alerts["groups"] for rule in group["rules"]]
    assert re.findall(r"^\| (ImageQueue\w+) \|", PAGE.read_text(), re.MULTILINE) == rules


def test_the_dashboards_panels_do_not_lie_on_each_other() -> None:
    panels = json.loads((MONITORING / "grafana-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.fixture
def promtool() -> Callable[..., str]:
    if PROMTOOL is None:
        reason = "no promtool on the PATH (it comes with Prometheus)"
        if os.environ.get("CI"):
            pytest.fail(reason + "; CI must have one")
        pytest.skip(reason)

    def run(*arguments: str, text: str = "") -> str:
        done = subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, text=True, cwd=MONITORING)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_promtool_takes_the_rules_and_the_configuration(promtool: Callable[..., str]) -> None:
    assert "11 rules found" in promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "prometheus.yml")


def test_promtool_sees_each_alert_fire_when_it_should_and_only_then(promtool: Callable[..., str]) -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_promtool_finds_nothing_to_say_about_the_metrics(
    promtool: Callable[..., str], exposition: tuple[Scrape, Scrape]
) -> None:
    for scrape in exposition:
        assert promtool("check", "metrics", text=scrape.text) == ""
