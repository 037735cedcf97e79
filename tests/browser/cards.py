"""What people do on the page at /, and what they see there."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.system import eventually


def words(label: str) -> str:
    return label.replace("_", " ").capitalize()


def file_of(directory: Path, number: int, name: str = "", size: tuple[int, int] = (40, 30)) -> Path:
    path = directory / (name or f"picture-{number}.png")
    path.write_bytes(picture(number, size))
    return path


def choose(page: Page, *files: Path) -> None:
    """With the file dialog, as it comes after a click."""
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Choose images").click()
    chooser.value.set_files(list(files))


def drop(page: Page, *files: Path) -> None:
    """From outside of the browser, over the page's middle; the browser makes all events of it."""
    session = page.context.new_cdp_session(page)
    box = page.viewport_size or {"width": 800, "height": 600}
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send(
            "Input.dispatchDragEvent", {"type": kind, "x": box["width"] / 2, "y": box["height"] / 2, "data": data}
        )


def paste(page: Page, image: bytes) -> None:
    """A picture from the clipboard, with the keyboard."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async (base64) => {
          const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
          const blob = new Blob([bytes], { type: "image/png" });
          await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }""",
        base64.b64encode(image).decode(),
    )
    page.keyboard.press("Control+V")


def card(page: Page, name: str) -> Locator:
    return page.locator(".card", has=page.locator(".file", has_text=name))


def expect_answer(page: Page, file: Path) -> Locator:
    """The card of this very file, with the label of its pixels."""
    found = card(page, file.name)
    expect(found.locator(".best")).to_have_text(words(null_label(file.read_bytes())))
    expect(found).to_have_attribute("aria-busy", "false")
    return found


def expect_problem(page: Page, name: str, sentence: str) -> Locator:
    found = card(page, name)
    expect(found.locator(".problem")).to_contain_text(sentence)
    eventually(lambda: sentence in " ".join(page.evaluate("heard")), what=f"said aloud: {sentence}")
    return found


def names_of(cards: Sequence[Locator]) -> list[str]:
    return [found.locator(".file").inner_text() for found in cards]
