"""A real Chromium, headless, spoken to over a pipe: to look at a page as its reader does.

Only what tests of a page need: load it at a width and in a colour scheme, ask it things,
collect what it complains of and whatever it tries to fetch, picture it, print it.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--no-default-browser-check", "--hide-scrollbars", "--mute-audio",
    "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60.0


def chromium() -> str | None:
    """Where the browser is, None on a machine without one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One running Chromium with one tab; every method waits for its answer."""

    def __init__(self, to: int, answers: int) -> None:
        self.to = to
        self.answers = answers
        self.last = 0
        self.waiting = b""
        self.session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.events: list[str] = []
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def open(self, page: Path, width: int = 1280, scheme: str = "light", media: str = "") -> None:
        """Load a file at a width in CSS pixels, in the `light` or the `dark` colour scheme."""
        self.complaints, self.requests, self.events = [], [], []
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.emulate(scheme, media)
        self.call("Page.navigate", url=page.resolve().as_uri())
        self._until("Page.loadEventFired")

    def emulate(self, scheme: str, media: str = "") -> None:
        """The colour scheme that the reader prefers; `media="print"` lays out as on paper."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, top: float = 0, height: float | None = None) -> bytes:
        """A PNG of the page as wide as the window, from `top` on; by default all of it."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": top,
            "width": size["width"],
            "height": size["height"] - top if height is None else height,
            "scale": 1,
        }
        found = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def pdf(self) -> bytes:
        """The page as it prints on A4."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": False}
        found = self.call("Page.printToPDF", printBackground=False, **paper)
        return base64.b64decode(found["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        self.last += 1
        message: dict[str, Any] = {"id": self.last, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]
        for answer in self._messages():
            if answer.get("id") == self.last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
        raise AssertionError("the browser closed its pipe")

    def _until(self, event: str) -> None:
        if event not in self.events:
            next(message for message in self._messages() if message.get("method") == event)

    def _messages(self) -> Iterator[dict[str, Any]]:
        """Messages as they come; complaints and requests are noted on the way."""
        late = time.monotonic() + PATIENCE
        while True:
            while b"\0" in self.waiting:
                text, self.waiting = self.waiting.split(b"\0", 1)
                message = json.loads(text)
                self._note(message)
                yield message
            assert select.select([self.answers], [], [], late - time.monotonic())[0], "no answer"
            part = os.read(self.answers, 1 << 20)
            if not part:
                return
            self.waiting += part

    def _note(self, message: dict[str, Any]) -> None:
        method, told = message.get("method", ""), message.get("params", {})
        self.events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(f"{told['entry']['level']}: {told['entry']['text']}")
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(f"console.{told['type']}: {told['args']}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(f"exception: {told['exceptionDetails']['text']}")


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start a browser with a profile of its own; it is gone when the block ends."""
    program = chromium()
    assert program is not None, "no Chromium on this machine"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        hear, to = os.pipe()
        answers, tell = os.pipe()
        # The protocol wants the file descriptors 3 and 4, which a shell can arrange.
        wrapped = ["/bin/bash", "-c", f'exec "$@" 3<&{hear} 4>&{tell}', "browser", program]
        process = subprocess.Popen(
            [*wrapped, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(hear, tell),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(hear)
        os.close(tell)
        try:
            browser = Browser(to, answers)
            yield browser
            browser.session = None
            with suppress(AssertionError, OSError):
                browser.call("Browser.close")
        finally:
            os.close(to)
            os.close(answers)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()
