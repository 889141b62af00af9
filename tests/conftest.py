"""What holds for all tests: one thread, shapes checked at every call, and in CI no test is skipped for want of a tool.

Its place puts this folder on the import path: `report_example.py` is shared by unit and end-to-end tests.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

os.environ["CGAP_TRUST_REMOTE_CODE"] = "1"  # tiny_processor is our own; what happens without leave has its own tests
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported; numbers differ between thread counts

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

HOLD_ARRAYS = (
    *("agent", "data", "encoders", "measures", "pipeline", "policies", "rollout", "scaling", "shapes", "statistics"),
    *("suites.base", "suites.tabletop", "testing", "tokenizers", "training", "transformer", "verdict"),
)
install_import_hook([f"compression_gap.{name}" for name in HOLD_ARRAYS], "checked.check")

settings.register_profile("the same examples every time", derandomize=True, database=None, deadline=None)
settings.load_profile("the same examples every time")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write the pinned numbers of tests/golden anew")


NEED_A_TOOL = ("end_to_end", "simulators")  # a browser, LIBERO


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    return _not_in_ci(report, item.path.parent.name)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    report = yield
    return _not_in_ci(report, collector.path.parent.name)


def _not_in_ci(report: Any, folder: str) -> Any:
    if report.skipped and folder in NEED_A_TOOL and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not accept here: {report.longrepr}"
    return report
