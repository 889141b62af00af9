"""Opens pages in headless Chromium: shared by the tests of the report and of the whole program."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

LIGHT, DARK = 1, 0
MEASURE = """<script>
const numbers = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255);
const light = (colour) => numbers(colour).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const paper = light(getComputedStyle(document.body).backgroundColor);
const lowest = (query, property) => Math.min(...[...document.querySelectorAll(query)]
  .map((found) => contrast(paper, light(getComputedStyle(found)[property]))));
console.log(`text ${lowest("p, td, th:not(.again), dt, dd, li, figcaption, .label", "color").toFixed(2)}`
  + ` drawn ${lowest("svg text", "fill").toFixed(2)}`
  + ` lines ${lowest("svg .line, svg .mark:not(.seed)", "stroke").toFixed(2)}`
  + ` wide ${document.documentElement.scrollWidth} of ${innerWidth}`);
</script>"""


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


def look_legible(page: str, folder: Path, scheme: int) -> None:
    """Fails unless everything can be read on a phone in that colour scheme, without scrolling sideways."""
    page = page.replace("</body>", MEASURE + "</body>")
    phone = f'<meta name="color-scheme" content="light dark"><iframe width="360" srcdoc="{html.escape(page)}"></iframe>'
    (line,) = look(phone, folder, scheme=scheme).console
    found = re.search(r"text (\S+) drawn (\S+) lines (\S+) wide (\d+) of (\d+)", line)
    assert found, line
    text, drawn, lines, wide, window = map(float, found.groups())
    assert window == 360
    assert text >= 4.5, "WCAG AA for text"
    assert drawn >= 4.5
    assert lines >= 3.0, "WCAG AA for graphics"
    assert wide <= window


def _first_pixel(png: bytes) -> tuple[int, int, int]:
    """Every PNG filter leaves the very first pixel as it is."""
    at, data = 8, b""
    while at < len(png):
        length, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    red, green, blue = zlib.decompress(data)[1:4]
    return red, green, blue
