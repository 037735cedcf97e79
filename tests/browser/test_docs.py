"""The page of the API, within the strict CSP: it shows every operation, and one can be tried."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visitor

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]


def test_operations_are_shown_and_can_be_tried(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("/docs")
    expect(page.locator(".opblock")).not_to_have_count(0)
    expect(page.locator('[data-path="/predict"]')).to_be_visible()
    page.locator('[data-path="/livez"]').click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table")).to_contain_text('"status": "alive"')
