"""The web page in a real browser, against the whole stack."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from api_process import starting, status
from playwright.sync_api import Page, sync_playwright

from jobs.access.secret import KeySecret
from local.stack import Stack

pytestmark = pytest.mark.system

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def page(service: Any) -> Iterator[Page]:
    """The page, open."""
    with opened(service.url) as page:
        page.wait_for_selector("select option", state="attached")
        yield page


@contextmanager
def opened(url: str) -> Iterator[Page]:
    """A service's page, with every complaint of the browser noted."""
    if BROWSER is None:
        pytest.skip("needs chromium on the PATH: apt install chromium")
    with sync_playwright() as playwright:
        # As root, in a container, Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        # A stream of events that the page itself closes, at its end, counts as failed too.
        page.on(
            "requestfailed",
            lambda request: request.url.endswith("/events") or complaints.append(request.url),
        )
        page.goto(url)
        yield page
        browser.close()
    assert not complaints


def test_a_prompt_becomes_pictures_on_the_page(page: Page) -> None:
    page.fill("textarea", "a red circle on a blue background")
    page.fill("input[name=images]", "2")
    page.click("text=Develop")
    page.wait_for_selector("article .state >> text=seed", timeout=60_000)
    pictures = page.locator("article img")
    widths = pictures.evaluate_all(
        "async (all) => Promise.all(all.map((i) => i.decode().then(() => i.naturalWidth)))"
    )
    assert widths == [64, 64]


def test_a_running_job_shows_its_pictures_as_they_come(page: Page) -> None:
    page.fill("textarea", "a red circle on a blue background")
    page.fill("input[name=steps]", "100")
    page.fill("input[name=images]", "4")
    page.click("text=Develop")
    page.wait_for_selector("article img[src^='data:image/webp']", timeout=60_000)
    page.wait_for_selector("article .state >> text=seed", timeout=60_000)
    sources = page.locator("article img").evaluate_all("(all) => all.map((i) => i.src)")
    assert len(sources) == 4
    assert all(source.startswith("http") for source in sources)


def test_a_refusal_is_told_where_the_user_looks(page: Page) -> None:
    page.evaluate("document.getElementById('request').noValidate = true")
    page.fill("textarea", "a red circle")
    page.fill("input[name=steps]", "5000")
    page.click("text=Develop")
    page.wait_for_selector("#problem:not([hidden])")
    assert "steps" in page.inner_text("#problem")
    assert page.locator("article").count() == 0


def test_a_running_job_is_stopped_by_its_button(page: Page) -> None:
    page.fill("textarea", "a red circle")
    page.fill("input[name=images]", "16")
    page.fill("input[name=steps]", "100")
    page.click("text=Develop")
    page.click("article button")
    page.wait_for_selector("article .state >> text=canceled", timeout=30_000)


def test_the_page_offers_what_the_chosen_model_takes(page: Page) -> None:
    page.select_option("select[name=model]", "shapes-janus")
    assert page.locator("input[name=temperature]").is_visible()
    assert not page.locator("input[name=steps]").is_visible()
    page.fill("textarea", "a red circle on a blue background")
    page.fill("input[name=temperature]", "0.5")
    page.click("text=Develop")
    page.wait_for_selector("article .state >> text=seed", timeout=60_000)
    page.select_option("select[name=model]", "shapes-sd")
    assert page.locator("input[name=steps]").is_visible()
    assert not page.locator("input[name=temperature]").is_visible()


def give(page: Page, key: str) -> None:
    page.wait_for_selector("#access:not([hidden])")
    page.fill("input[name=key]", key)
    page.click("#access button")


def test_where_a_key_is_needed_the_page_asks_for_it_and_works_with_it(
    stores: Stack, redis: object
) -> None:
    command = [sys.executable, "-m", "local.command", "keys", "create", "--tenant=ann"]
    environment = {**os.environ, **stores.environment()}
    key = subprocess.check_output(command, env=environment, text=True).strip()
    with starting(stores, allow_anonymous="false") as (process, port):
        assert status(process, port) == 401
        with opened(f"http://127.0.0.1:{port}") as page:
            give(page, KeySecret.new().text)
            page.wait_for_selector("#problem >> text=unknown or revoked")
            give(page, key)
            page.wait_for_selector("#access", state="hidden")
            page.fill("textarea", "a red circle on a blue background")
            page.click("text=Develop")
            page.wait_for_selector("article .state >> text=no worker serves")
            page.click("article button")
            page.wait_for_selector("article .state >> text=canceled")
            assert key not in page.content()
