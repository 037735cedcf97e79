"""The docs say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import imagequeue
from scripts.settings_page import PAGE, page
from settings import table

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(p for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))


def test_the_page_of_settings_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_every_link_to_a_file_leads_to_one(file: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", file.read_text(encoding="utf-8")):
        assert (file.parent / target).exists(), f"{file.name} links to {target}"


def test_the_readme_names_only_settings_and_make_targets_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = {name for name, _, _ in table()}
    mentioned = set(re.findall(r"^\| `?([A-Z][A-Z_]+)`? \|", text, re.MULTILINE))
    assert mentioned
    assert mentioned <= names
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets
    assert {"serve", "test"} <= set(re.findall(r"^make ([a-z]+)$", text, re.MULTILINE))


def test_every_script_of_the_queue_has_its_paragraph_in_the_protocol() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    for script in (ROOT / "imagequeue" / "lua").glob("*.lua"):
        if script.stem != "prelude":
            assert f"**{script.stem}**" in text, script.stem


def test_every_fault_case_in_the_docs_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    cases = re.findall(r"^\| (\d+) \| .+ \| (.+) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in cases] == list(range(1, 17))
    code = "".join(file.read_text() for file in (ROOT / "tests" / "faults").glob("test_*.py"))
    for _, tests in cases:
        named = re.findall(r"`(test_\w+)`", tests)
        assert named
        assert all(f"def {name}(" in code for name in named), named


def test_the_package_tells_the_version_that_it_is_published_as() -> None:
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert imagequeue.__version__ == version
