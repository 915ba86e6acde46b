"""A page of ours, opened in a headless Chromium that is driven by its debugging protocol.

The browser is the program of `GENOMEFORMER_BROWSER`, or the first of `_PROGRAMS` on the PATH. It
reads commands from descriptor 3 and writes answers to descriptor 4, so no port is opened.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_VARIABLE = "GENOMEFORMER_BROWSER"
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome", "chrome-headless-shell")
_END = b"\0"
_SECONDS = 20


def browser_program() -> str:
    """Return the program of the browser."""
    names = [os.environ[_VARIABLE]] if os.environ.get(_VARIABLE) else _PROGRAMS
    paths = [path for path in map(shutil.which, names) if path]
    assert paths, f"no browser: name a Chromium with {_VARIABLE}, or install one on the PATH"
    return paths[0]


class BrowserPage:
    """Page in a browser, with what it logged and requested."""

    def __init__(self, sender: int, receiver: int) -> None:
        self._sender, self._receiver = sender, receiver
        self._pending, self._number, self._session = b"", 0, ""
        self.problems: list[str] = []  # Errors of scripts and entries of the console.
        self.requests: list[str] = []  # Addresses that the page requested.

    def open(self, path: Path) -> None:
        """Load a file and wait for its end."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=1300,
            height=700,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._call("Page.navigate", url=path.resolve().as_uri())
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, code: str) -> Any:
        """Return the value of an expression."""
        answer = self._call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, identifier: str) -> str:
        """Return the text of an element."""
        return str(self.evaluate(f"document.getElementById({json.dumps(identifier)}).textContent"))

    def number_of(self, kind: str) -> int:
        """Return the number of drawn elements of a class."""
        return int(self.evaluate(f"document.querySelectorAll({json.dumps('.' + kind)}).length"))

    def point(self, x: float, y: float) -> None:
        """Move the pointer over the drawing, which is 1,200 wide."""
        self._mouse("mouseMoved", x, y)

    def wheel(self, x: float, amount: float) -> None:
        """Turn the wheel at a place."""
        self._mouse("mouseWheel", x, 50, deltaX=0, deltaY=100 * amount)

    def drag(self, x: float, end: float) -> None:
        """Hold the drawing at a place and move it."""
        self._mouse("mousePressed", x, 50, button="left", buttons=1, clickCount=1)
        self._mouse("mouseMoved", (x + end) / 2, 50, button="left", buttons=1)
        self._mouse("mouseMoved", end, 50, button="left", buttons=1)
        self._mouse("mouseReleased", end, 50, button="left", clickCount=1)

    def click(self, identifier: str) -> None:
        """Click a button."""
        self.evaluate(f"document.getElementById({json.dumps(identifier)}).click()")

    def choose(self, identifier: str, value: str) -> None:
        """Choose an entry of a list."""
        element = f"document.getElementById({json.dumps(identifier)})"
        self.evaluate(f"{element}.value = {json.dumps(value)}")
        self.evaluate(f"{element}.dispatchEvent(new Event('change'))")

    def wait(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition: the browser handles the wheel and drags after it answers."""
        last = time.monotonic() + _SECONDS
        while not holds():
            assert time.monotonic() < last, "the condition never held"
            time.sleep(0.02)

    def picture(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        data = self._call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def _mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        box = self.evaluate(
            "(box => [box.left, box.top, box.width / 1200])"
            "(document.getElementById('view').getBoundingClientRect())"
        )
        left, top, scale = box
        place = {"x": left + x * scale, "y": top + y * scale}
        self._call("Input.dispatchMouseEvent", type=kind, **place, **more)

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._sender, json.dumps(message).encode() + _END)
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        while _END not in self._pending:
            data = os.read(self._receiver, 1 << 16)
            assert data, "the browser ended"
            self._pending += data
        text, _, self._pending = self._pending.partition(_END)
        message: dict[str, Any] = json.loads(text)
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded":
                self.problems.append(json.dumps(parameters))
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
        return message


@contextmanager
def open_in_browser(path: Path, profile: Path) -> Iterator[BrowserPage]:
    """Open a page in a fresh browser, which is ended with the context.

    Args:
        path: Page.
        profile: Folder for the files of the browser.
    """
    commands, sender = os.pipe()
    receiver, answers = os.pipe()
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    words = [browser_program(), *options.split(), f"--user-data-dir={profile}"]
    # Descriptors 3 and 4 are those of the protocol; the shell moves the pipes to them.
    shell = f'exec "$@" 3<&{commands} 4>&{answers}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", *words, "--remote-debugging-pipe"],
        pass_fds=(commands, answers),
        env={**os.environ, "HOME": str(profile)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands)
    os.close(answers)
    page = BrowserPage(sender, receiver)
    try:
        page.open(path)
        yield page
        page._call("Runtime.evaluate", expression="0")  # Events before the end are read.
    finally:
        os.close(sender)
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(receiver)
