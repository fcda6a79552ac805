"""A person at the Prefect UI: a headless Chromium that fills in forms and reads pages, and the server's API to compare with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import httpx
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from tests.flows.operate.running import RunningDesk

PROGRAMS = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
PATIENCE_SECONDS = 120
BUSY = "Something went wrong"
redrawn = retry(  # for what looks at a page that may be drawn anew meanwhile
    retry=retry_if_exception_type(StaleElementReferenceException),
    stop=stop_after_attempt(5),
    wait=wait_fixed(1),
    reraise=True,
)
PROPERTY, LABEL = ".schema-form-property", ".schema-form-property__label"


@dataclass(frozen=True, kw_only=True)
class Api:
    """The server's API."""

    client: httpx.Client

    def ask(self, method: str, path: str, **body: Any) -> httpx.Response:
        return self.client.request(method, path, json=body or None)

    def filter(self, path: str, **body: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (
            self.ask("POST", f"{path}/filter", **{"limit": 200, **body}).raise_for_status().json()
        )
        return found

    def pause(self, queue: str, *, is_paused: bool) -> None:
        self.ask("PATCH", f"/work_pools/nightdesk/queues/{queue}", is_paused=is_paused).raise_for_status()

    def runs_of(self, deployment: str) -> list[dict[str, Any]]:
        """The runs that a person asked for, the newest first."""
        found = self.filter("/flow_runs", deployments={"id": {"any_": [deployment]}}, sort="EXPECTED_START_TIME_DESC")
        return [one for one in found if not one["auto_scheduled"]]

    def run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/flow_runs/{run}").raise_for_status().json()
        return found

    def artifacts_of(self, run: str) -> dict[str, dict[str, Any]]:
        found = self.filter("/artifacts", artifacts={"flow_run_id": {"any_": [run]}})
        return {one["key"]: one for one in found}


@dataclass(frozen=True, kw_only=True)
class Ui:
    """The Prefect UI in a browser, logged in."""

    driver: webdriver.Chrome
    url: str

    def open(self, path: str, selector: str) -> None:
        """Go to a page and wait until it shows what the selector finds; loaded again where the server was busy."""
        self.driver.get(f"{self.url}{path}")
        for _ in range(3):
            with suppress(TimeoutException):
                self.wait(lambda: bool(self.all(selector)), seconds=PATIENCE_SECONDS / 2)
                return
            self.driver.refresh()
        self.wait(lambda: bool(self.all(selector)))

    def wait(self, condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Until the condition holds."""
        WebDriverWait(self.driver, seconds).until(lambda _: condition())

    def all(self, selector: str) -> list[WebElement]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    @redrawn
    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def field(self, title: str) -> WebElement:
        """The part of a form that has this title, as soon as the page has drawn it."""

        def found(_: webdriver.Chrome) -> WebElement | Literal[False]:
            return next((one for one in self.all(PROPERTY) if title_of(one) == title), cast(Literal[False], False))

        waiting = WebDriverWait(self.driver, PATIENCE_SECONDS, ignored_exceptions=[StaleElementReferenceException])
        return waiting.until(found, f"no field {title!r} in the form")

    @redrawn
    def fill(self, title: str, value: Any) -> None:
        """Put a value where a person would: type it, or choose it; once more where the page draws its form anew meanwhile."""
        field = self.field(title)
        selects = field.find_elements(By.CSS_SELECTOR, "select:not(.p-native-select__control--placeholder)")
        if selects:
            Select(selects[0]).select_by_visible_text(value)
            return
        if isinstance(value, list):
            for number, one in enumerate(value):
                if len(field.find_elements(By.TAG_NAME, "textarea")) <= number:
                    field.find_element(By.XPATH, ".//button[contains(., 'Add item')]").click()
                    self.wait(lambda: len(field.find_elements(By.TAG_NAME, "textarea")) > number)  # noqa: B023
                box = field.find_elements(By.TAG_NAME, "textarea")[number]
                box.send_keys(Keys.CONTROL, "a")
                box.send_keys(one)
            return
        box = field.find_element(By.CSS_SELECTOR, "input, textarea")
        if box.get_attribute("type") == "date":
            year, month, day = str(value).split("-")
            value = f"{month}{day}{year}"  # as the browser of an American asks for it
        else:
            box.send_keys(Keys.CONTROL, "a")
        box.send_keys(str(value))

    def order(self, deployment: str, filled: dict[str, Any], until: Callable[[], bool]) -> None:
        """Fill in a deployment's form and press the button; once more where a busy server says so, and has made nothing."""
        for _ in range(5):
            self.open(f"/deployments/deployment/{deployment}/run", PROPERTY)
            for title, value in filled.items():
                self.fill(title, value)
            self.all("form button[type=submit]")[-1].click()
            self.wait(lambda: until() or BUSY in self.text())
            if until():
                return
        raise AssertionError(f"nothing came of the form; the page says {self.text()[-1500:]}")

    def shoot(self, name: str, height: int) -> None:
        """Keep a picture where one is asked for."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.driver.set_window_size(1280, height)
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))
            self.driver.set_window_size(1280, 1400)

    def asked(self) -> set[str]:
        """The hosts that the browser has asked for anything since it was started or last called."""
        messages = [json.loads(one["message"])["message"] for one in self.driver.get_log("performance")]
        urls = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return {httpx.URL(url).host for url in urls if url.startswith(("http", "ws"))}


def title_of(field: WebElement) -> str:
    return field.find_element(By.CSS_SELECTOR, LABEL).text.removesuffix(" (Optional)")


@contextmanager
def browser(desk: RunningDesk, profile: Path) -> Iterator[Ui]:
    """Logged in with the desk's key; names outside the loopback are not even looked up."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(PROGRAMS["chromium"])
    arguments = [
        "--headless=new", "--disable-dev-shm-usage", "--window-size=1280,1400", "--lang=en-US", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]  # fmt: skip
    for argument in arguments:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(service=Service(str(PROGRAMS["chromedriver"])), options=options)
    try:
        driver.set_page_load_timeout(PATIENCE_SECONDS)
        one = Ui(driver=driver, url=desk.api_url.removesuffix("/api"))
        one.open("/", "input[type=password]")
        one.all("input[type=password]")[0].send_keys(desk.auth)
        one.all("input[type=password]")[0].submit()
        one.wait(lambda: "/login" not in driver.current_url)
        yield one
    finally:
        driver.quit()
