"""Opens pages in headless Chromium: shared by the tests of the report and of the whole program."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

LIGHT, DARK = 1, 0


@dataclass
class Seen:
    """What the browser made of a page."""

    console: list[str]
    first_pixel: tuple[int, int, int]
    bytes: int


def look(page: str, folder: Path, *, scheme: int = LIGHT) -> Seen:
    """Opens the page and takes a picture of it. A missing browser is a failure: the report is for browsers."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert browser, "no Chromium found: install it (Debian: apt-get install chromium)"
    (folder / "report.html").write_text(page, "utf-8")
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1100,4000",
        f"--screenshot={folder / 'page.png'}",
        (folder / "report.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    png = (folder / "page.png").read_bytes()
    return Seen([line for line in done.stderr.splitlines() if "CONSOLE" in line], _first_pixel(png), len(png))


def _first_pixel(png: bytes) -> tuple[int, int, int]:
    """Every PNG filter leaves the very first pixel as it is."""
    at, data = 8, b""
    while at < len(png):
        length, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    red, green, blue = zlib.decompress(data)[1:4]
    return red, green, blue
