"""The page in a real browser: no console messages, both colour schemes, readable, no sideways scrolling on a phone."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from browser import DARK, LIGHT, look
from codebook_example import codebooks
from compression_gap.report.content import ReportContent
from compression_gap.report.page import render
from report_example import example, success_only

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


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_the_page_opens_without_a_word_on_the_console_in_both_colour_schemes(scheme: int, tmp_path: Path) -> None:
    seen = look(render(example()), tmp_path, scheme=scheme)
    assert seen.console == []
    assert (min(seen.first_pixel) > 240) == (scheme == LIGHT)
    assert (max(seen.first_pixel) < 40) == (scheme == DARK)
    assert seen.bytes > 100_000


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("content", [success_only, codebooks])
def test_everything_can_be_read_and_a_phone_need_not_scroll_sideways(
    content: Callable[[], ReportContent], scheme: int, tmp_path: Path
) -> None:
    page = render(content()).replace("</body>", MEASURE + "</body>")
    phone = f'<meta name="color-scheme" content="light dark"><iframe width="360" srcdoc="{html.escape(page)}"></iframe>'
    (line,) = look(phone, tmp_path, scheme=scheme).console
    found = re.search(r"text (\S+) drawn (\S+) lines (\S+) wide (\d+) of (\d+)", line)
    assert found, line
    text, drawn, lines, wide, window = map(float, found.groups())
    assert window == 360
    assert text >= 4.5, "WCAG AA for text"
    assert drawn >= 4.5
    assert lines >= 3.0, "WCAG AA for graphics"
    assert wide <= window


def test_the_check_hears_an_error(tmp_path: Path) -> None:
    broken = render(example()).replace("</body>", "<script>nothing.here()</script></body>")
    assert any("nothing is not defined" in line for line in look(broken, tmp_path).console)
