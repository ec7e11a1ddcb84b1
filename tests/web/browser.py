"""Browser: a headless Chromium, driven over WebDriver's HTTP with nothing but the standard library.

All calls block; a test under trio makes them in a thread.

Source: W3C WebDriver; chromedriver's `goog/cdp/execute` for what WebDriver has no words for.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en-US"),
)
# Starting takes seconds on a small computer that also runs other tests.
START_S = 60.0
CALL_S = 60.0
# How long a page may take to show what it should.
SHOWN_S = 15.0

T = TypeVar("T")


def missing() -> str:
    """What keeps the browser from running here; empty if nothing does."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(absent)}: install the Debian packages chromium and chromium-driver" if absent else ""


class Browser:
    """One browser window."""

    def __init__(self, driver: str, profile: Path) -> None:
        self._driver = driver
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"

    def close(self) -> None:
        self._call("DELETE", self._session)

    def look(self, *, width: int, height: int, dark: bool = False, scripts: bool = True) -> None:
        """The size of the screen, the colours that its owner likes, and whether scripts run."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.cdp("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.cdp("Emulation.setEmulatedMedia", features=scheme)
        self.cdp("Emulation.setScriptExecutionDisabled", value=not scripts)

    def open(self, url: str) -> None:
        self._call("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *values: Any) -> Any:
        """What a script returns."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": list(values)})

    def text(self, selector: str) -> str:
        """The text of the first element that fits; empty if there is none."""
        found: str = self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
        return found.strip()

    def until(self, look: Callable[[], T], what: str) -> T:
        """Look until there is something to see, and give it."""
        deadline = time.monotonic() + SHOWN_S
        while not (found := look()):
            assert time.monotonic() < deadline, f"not shown in {SHOWN_S:.0f} s: {what}"
            time.sleep(0.05)
        return found

    def picture(self, *, whole: bool = True) -> bytes:
        """A PNG of the page, or of the screen."""
        answer = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def complaints(self) -> list[str]:
        """What the console said since the last call, warnings and errors."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def requests(self) -> list[str]:
        """The addresses that pages asked for since the last call."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def cdp(self, command: str, **parameters: Any) -> Any:
        """A command of the developer tools."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._driver + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=CALL_S) as answer:
            return json.load(answer)["value"]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a fresh profile in `folder`; it and its driver are ended."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "driver.log").open("w+") as log:
        driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=log, stderr=subprocess.STDOUT)
        try:
            window = Browser(f"http://127.0.0.1:{_port(driver, folder / 'driver.log')}", folder / "profile")
            try:
                yield window
            finally:
                window.close()
        finally:
            driver.terminate()
            driver.wait()


def _port(driver: subprocess.Popen[bytes], log: Path) -> int:
    """The port that the driver chose."""
    deadline = time.monotonic() + START_S
    while driver.poll() is None and time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if "started successfully on port " in line:
                return int(line.rpartition(" ")[2].rstrip("."))
        time.sleep(0.05)
    raise AssertionError(f"chromedriver does not start: {log.read_text()}")
