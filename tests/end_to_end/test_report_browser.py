"""The page in a real browser: no console messages, both colour schemes, readable, no sideways scrolling on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from browser import DARK, LIGHT, look, look_legible
from codebook_example import codebooks
from compression_gap.report.content import ReportContent
from compression_gap.report.page import render
from report_example import example, success_only


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
    look_legible(render(content()), tmp_path, scheme)


LETTERS = """<script>
for (const key of ["gap", "tolerances"]) {
  const drawn = document.querySelector(`#${key} .panel svg`);
  console.log(`letters ${(drawn.getBoundingClientRect().width / drawn.viewBox.baseVal.width).toFixed(3)}`);
}
</script>"""


def test_a_lone_panel_has_letters_of_the_size_of_others(tmp_path: Path) -> None:
    content = example()
    page = render(replace(content, interactions=content.interactions[:1])).replace("</body>", LETTERS + "</body>")
    said = " ".join(look(page, tmp_path).console)
    lone, one_of_several = map(float, re.findall(r"letters ([\d.]+)", said))
    assert lone == one_of_several


def test_the_check_hears_an_error(tmp_path: Path) -> None:
    broken = render(example()).replace("</body>", "<script>nothing.here()</script></body>")
    assert any("nothing is not defined" in line for line in look(broken, tmp_path).console)
