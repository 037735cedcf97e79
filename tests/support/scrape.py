"""What Prometheus would read, as numbers by series."""

from __future__ import annotations

import requests
from prometheus_client.parser import text_string_to_metric_families

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Scrape:
    """One reading of an exposition."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.series: Series = {}
        self.families = {family.name: family.type for family in text_string_to_metric_families(text)}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in self.series, f"{key} stands there twice"
                self.series[key] = sample.value

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.series}

    def value(self, name: str, **labels: str) -> float:
        """Of one series; 0 where there is none, as a rate would have it."""
        return self.series.get((f"imagequeue_{name}", tuple(sorted(labels.items()))), 0.0)

    def total(self, name: str) -> float:
        """Of all series of that name."""
        return sum(value for (found, _), value in self.series.items() if found == f"imagequeue_{name}")


def scrape(url: str) -> Scrape:
    response = requests.get(url, timeout=10)
    assert response.status_code == 200
    return Scrape(response.text)
