"""A real browser: Debian's Chromium, headless, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from playwright.sync_api import Page, sync_playwright

ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def page(*, scripts: bool = False) -> Iterator[Page]:
    """
    A page of a browser that was never anywhere, with JavaScript switched off unless told otherwise.
    """
    found = shutil.which("chromium")
    if found is None:
        pytest.fail("these tests need a browser: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS, timeout=120_000)
        try:
            context = browser.new_context(java_script_enabled=scripts)
            context.set_default_timeout(120_000)
            yield context.new_page()
        finally:
            browser.close()
