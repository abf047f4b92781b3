"""Pages in a real Chromium, driven over its DevTools protocol: what it says, what it loads, how wide it becomes.

`chromium` finds a browser on PATH. On a machine of continuous integration (CI is set) that runs Debian as root, its own
package is installed where there is none; nobody else's machine is changed. No wheel of a package index carries a kept
Chromium.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
_INSTALL_SECONDS = 300
# Chromium talks over file descriptors 3 and 4; a parent with threads can only put them there in a child of its own.
_START = (
    "import os, sys; r, w = map(int, sys.argv[1:3]); os.dup2(r, 3); os.dup2(w, 4); os.execv(sys.argv[3], sys.argv[3:])"
)
# How dark each text is against what is behind it, as WCAG 2 counts it; the least of all of them, with the text.
_CONTRAST = """
(() => {
  const rgb = c => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  let worst = [21, ""];
  for (const each of document.body.querySelectorAll("*")) {
    if (![...each.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    let behind = each, paint;
    do { paint = rgb(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; }
    while (paint[3] === 0 && behind);
    if (paint[3] === 0) paint = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    const [a, b] = [light(rgb(getComputedStyle(each).color)), light(paint)];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst[0]) worst = [ratio, each.textContent.trim().slice(0, 60)];
  }
  return worst;
})()
"""


@dataclass(frozen=True)
class Shown:
    """One page at one width (CSS pixels): `said` on the console and by the browser about it, addresses `loaded` beside
    the page itself, the width it `needs`, the least contrast of any text with that text, and the picture (PNG)."""

    said: tuple[str, ...]
    loaded: tuple[str, ...]
    needs: int
    contrast: tuple[float, str]
    picture: str


def chromium() -> str | None:
    """The browser's program; None where there is none and none may be installed."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    apt = shutil.which("apt-get")
    if found or not (apt and os.environ.get("CI") and os.geteuid() == 0):
        return found
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        with suppress(subprocess.SubprocessError):  # what matters is whether it is there afterwards
            subprocess.run(
                [apt, "-qq", *words], env=env, timeout=_INSTALL_SECONDS, capture_output=True, stdin=subprocess.DEVNULL
            )
    return shutil.which("chromium")


class Browser:
    """One running Chromium. Calls raise RuntimeError when it refuses and TimeoutError when it does not answer."""

    def __init__(self, child: subprocess.Popen[bytes], to: int, back: int) -> None:
        self._child, self._to, self._back = child, to, back
        self._number = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **values: Any) -> dict[str, Any]:
        """Ask for something; events that come meanwhile are kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(60)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self.events.append(answer)

    def wait(self, method: str) -> None:
        """Until an event has come."""
        while not any(each.get("method") == method for each in self.events):
            self.events.append(self._next(60))

    def _next(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while b"\0" not in self._rest:
            if not select.select([self._back], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            piece = os.read(self._back, 1 << 20)
            if not piece:
                raise RuntimeError(f"Chromium ended with status {self._child.wait(10)}")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def show(self, page: Path, width: int, *, dark: bool = False) -> Shown:
        """Open a file at a width and look at it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", session)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", session, features=scheme)
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", session, **metrics)
        self.events.clear()
        address = page.resolve().as_uri()
        self.call("Page.navigate", session, url=address)
        self.wait("Page.loadEventFired")
        needs = self._ask(session, "document.documentElement.scrollWidth")
        contrast = self._ask(session, _CONTRAST)
        picture = self.call("Page.captureScreenshot", session, captureBeyondViewport=True)["data"]
        said, loaded = [], []
        for event in self.events:
            values = event.get("params", {})
            match event.get("method"):
                case "Runtime.consoleAPICalled":
                    said.append(str(values["args"]))
                case "Runtime.exceptionThrown":
                    said.append(str(values["exceptionDetails"]["text"]))
                case "Log.entryAdded":
                    said.append(str(values["entry"]["text"]))
                case "Network.requestWillBeSent" if values["request"]["url"] != address:
                    loaded.append(str(values["request"]["url"]))
        self.call("Target.closeTarget", targetId=target)
        return Shown(tuple(said), tuple(loaded), int(needs), (float(contrast[0]), str(contrast[1])), picture)

    def _ask(self, session: str, expression: str) -> Any:
        return self.call("Runtime.evaluate", session, expression=expression, returnByValue=True)["result"]["value"]


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """A Chromium with a profile of its own, ended and cleared away afterwards."""
    with ExitStack() as stack:
        profile = stack.enter_context(tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True))
        there, to = os.pipe()
        back, from_it = os.pipe()
        # Away from 3 and 4, which the child's ends are put on.
        theirs = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (there, from_it)]
        os.close(there)
        os.close(from_it)
        words = [sys.executable, "-c", _START, *map(str, theirs), program, *_FLAGS, f"--user-data-dir={profile}"]
        child = subprocess.Popen(
            words, pass_fds=theirs, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for each in theirs:
            os.close(each)
        try:
            yield Browser(child, to, back)
        finally:
            os.close(to)  # Chromium ends with its pipe
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            os.close(back)
