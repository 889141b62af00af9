"""The paper's third experiment: its settings, what the two studies share, and from outcomes to the report's slopes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression_gap.config import to_json
from compression_gap.pipeline.codebooks import codebook_sizes
from compression_gap.pipeline.job import Job, with_needs
from compression_gap.pipeline.jobs import TokenBits
from compression_gap.pipeline.plan import jobs_of
from compression_gap.pipeline.results import Results
from compression_gap.pipeline.tables import Tables
from compression_gap.report import words
from compression_gap.report.paper import CODEBOOKS
from compression_gap.shapes import ChunkShape
from compression_gap.statistics import Outcomes
from compression_gap.store import Store
from compression_gap.studies import codebook_size, codebook_size_cpu, factorial, tabletop
from compression_gap.suites.libero import benchmark

LITERAL, TWIN = codebook_size.grid(), codebook_size_cpu.grid()
CODES = (81, 256, 625, 1000, 4096)
BITS = {f"OAT 8x{codes}": (8 * math.log2(codes), 20.0 + number) for number, codes in enumerate(CODES)}


def tokenizers(grid) -> dict[str, dict[str, Any]]:
    return {m.name: to_json(m.tokenizer) for m in grid.methods if m.tokenizer is not None}


def test_the_literal_codebooks_and_encoders_are_the_papers():
    assert [sight.name for sight in LITERAL.sights] == list(CODEBOOKS.columns)
    methods = [method for method in LITERAL.methods if method.tokenizer is not None]
    levels = [list(found["levels"]) for found in tokenizers(LITERAL).values()]
    assert levels == [[8, 5, 5, 5], [8, 8, 6, 5], [7, 5, 5, 5, 5]]
    for method, (caption, success), found in zip(methods, CODEBOOKS.rows, levels, strict=True):
        bits = method.tokenizer.build(ChunkShape(32, 7)).nominal_bits
        assert caption == f"{math.prod(found)} codes, {bits:.1f} bits"
        assert method.name.endswith(f"8x{math.prod(found)}")
        line = next(line for line in codebook_size.__doc__.splitlines() if str(found).replace(" ", "") in line)
        told = [*map(float, line.split("]")[1].split())]
        assert told == [round(bits, 1), *success, pytest.approx(success[1] - success[0])]


def test_the_literal_study_is_the_factorial_but_for_its_codebooks():
    one = replace(factorial.grid(), seeds=LITERAL.seeds[:1])
    shared = {job.digest for job in jobs_of(replace(one, methods=one.methods[:2]))}
    mine = [method for method in LITERAL.methods if method.name in ("Diffusion M", "OAT M 8x1000")]
    assert {job.digest for job in jobs_of(replace(LITERAL, methods=tuple(mine), seeds=one.seeds))} == shared
    assert (LITERAL.seeds, LITERAL.base) == (factorial.grid().seeds, factorial.grid().base)
    assert LITERAL.codebooks == []  # three are too few for a line


def test_the_literal_study_is_planned_without_simulator_and_models(monkeypatch: pytest.MonkeyPatch):
    for name in ("transformers", "libero", "libero.libero", "robosuite", "mujoco"):
        monkeypatch.setitem(sys.modules, name, None)
    benchmark._benchmark.cache_clear()  # another test may have found it installed
    jobs = with_needs(jobs_of(replace(LITERAL, methods=LITERAL.methods[1:], seeds=(0,))))
    kinds = [job.kind for job in jobs if job.cost().seconds > 0]
    assert kinds.count("trained_agent") == 3 * 2
    assert kinds.count("trained_tokenizer") == 3


def test_the_twin_has_five_codebooks_that_differ_in_nothing_but_their_levels():
    found = tokenizers(TWIN)
    assert [math.prod(one["levels"]) for one in found.values()] == list(CODES)
    assert list(found) == list(BITS)
    assert {len(one["levels"]) for one in found.values()} == {4}
    assert len({str({**one, "levels": None}) for one in found.values()}) == 1
    assert [tuple(m.name for m in family) for family in TWIN.codebooks] == [tuple(BITS)]
    assert [sight.name for sight in TWIN.sights] == ["weak", "strong", "state"]
    assert len(TWIN.seeds) == 3


def test_the_twin_finds_all_that_the_tabletop_study_made():
    finished = {job.digest for job in with_needs(jobs_of(tabletop.grid()))}
    names = ("Diffusion", "OAT 8x81", "OAT 8x1000")
    shared = replace(TWIN, methods=tuple(method for method in TWIN.methods if method.name in names))
    assert {job.digest for job in with_needs(jobs_of(shared))} <= finished
    missing = [job for job in with_needs(jobs_of(TWIN)) if job.digest not in finished]
    kinds = [job.kind for job in missing]
    assert kinds.count("trained_agent") == 3 * 3 * 3  # the other codebooks, sights, seeds
    assert kinds.count("trained_tokenizer") == 3 * 3  # of the other codebooks
    assert set(kinds) == {"trained_agent", "trained_tokenizer", "evaluation", "replay", "token_bits"}


def test_where_the_size_is_the_question_every_seeds_tokenizer_is_measured():
    def measured(grid) -> int:
        return sum(isinstance(job, TokenBits) for job in jobs_of(grid))

    assert measured(TWIN) == len(CODES) * 3
    assert measured(tabletop.grid()) == 2


class Made(Results):
    """Results of outcomes that were made up: success by method, sight and tolerance, seed by seed."""

    def __init__(
        self,
        grid,
        store: Store,
        percent: Callable[[str, str, float], list[int]],
        replayed: Callable[[str, float], int] = lambda name, tolerance: 100,
        without: tuple[str, ...] = (),
    ) -> None:
        super().__init__(grid, store)
        self.percent, self.replayed, self.without = percent, replayed, without

    def outcomes(self, method, sight, decoding, tolerance):
        if method.name in self.without:
            return None
        return Outcomes.from_counts(np.array(self.percent(method.name, sight.name, tolerance)), 100)

    def replay(self, method, tolerance):
        return Outcomes.from_counts(np.full(3, self.replayed(method.name, tolerance)), 100)

    def has(self, *jobs: Job) -> bool:
        return all(isinstance(job, TokenBits) and self._name(job) not in self.without for job in jobs)

    def summary(self, job: Job) -> dict[str, Any]:
        nominal, realised = BITS[self._name(job)]
        seed = job.tokenizer.seed
        bits = {"nominal_bits": nominal, "code_length_bits": realised + (seed - 1)}  # their mean is `realised`
        return {**bits, "marginal_bits": nominal, "mm": None, "degrees": None}

    def provenance(self, job: Job) -> dict[str, Any]:
        return {"seconds": 1.0, "versions": {}, "commit": "", "machine": "", "python": "", "device": ""}

    def _name(self, job: Job) -> str:
        return f"OAT 8x{math.prod(job.tokenizer.tokenizer.levels)}"


GAIN = dict(zip(BITS, (10, 13, 12, 17, 21), strict=True))


def percent(method: str, sight: str, tolerance: float) -> list[int]:
    level = {"weak": 20, "strong": 20 + GAIN.get(method, 25), "state": 95}[sight]
    return [level - 2, level, level + 2]


def replayed(method: str, tolerance: float) -> int:
    return 100 if tolerance >= 8 else 50 + 2 * GAIN[method]


def test_slopes_are_lines_through_the_gains_on_bits_and_replay(tmp_path: Path):
    found = codebook_sizes(Made(TWIN, Store(tmp_path), percent, replayed))
    assert [(row.encoder_from, row.encoder_to) for row in found] == [("weak", "strong"), ("weak", "state")]
    row, tolerances = found[0], TWIN.base.suite.tolerances_mm
    early, primary = tolerances.index(5.0), tolerances.index(10.0)
    gains = [GAIN[book.method] for book in row.codebooks]
    assert [book.gain[primary].value for book in row.codebooks] == pytest.approx(gains)
    assert [book.realised_bits.value for book in row.codebooks] == pytest.approx([20, 21, 22, 23, 24])
    sizes = {"nominal bits": [nominal for nominal, _ in BITS.values()], "realised bits": [20, 21, 22, 23, 24]}
    for size, x in sizes.items():
        number = row.slope(size).points[primary]
        assert number.value == pytest.approx(np.polyfit(x, gains, 1)[0])
        assert number.low < number.value < number.high
    assert row.slope("replay").points[early].value == pytest.approx(0.5)  # replay rises twice as much
    assert row.slope("replay").points[primary] is None
    assert row.slope("replay").log_odds[primary] is None
    assert (row.continuous, row.continuous_gain[primary].value) == ("Diffusion", pytest.approx(25))


def test_the_report_of_the_study_leads_with_them(tmp_path: Path):
    grid = replace(TWIN, seeds=(0,))
    tables = Tables(grid, Store(tmp_path))
    tables.results = Made(grid, Store(tmp_path), percent, replayed)
    content = tables.report
    assert content.codebook_sizes == tuple(codebook_sizes(tables.results))
    missing, caution, answer, *_ = words.answer(content)
    assert missing.startswith(f"{sum(not isinstance(job, TokenBits) for job in jobs_of(grid))} results are missing")
    assert caution.startswith("One seed")
    assert "because the convergence of OAT 8x81 (greedy) was not measured" in answer


def test_a_cell_near_the_ceiling_is_flagged_where_it_counts(tmp_path: Path):
    strong, state = codebook_sizes(Made(TWIN, Store(tmp_path), percent))
    assert (strong.flag(0), strong.units(0)) == ("", ("points", "log-odds"))
    assert (state.flag(0), state.units(0)) == ("ceiling", ("log-odds", "points"))


def test_replays_within_each_others_intervals_have_no_slope(tmp_path: Path):
    (row, _) = codebook_sizes(Made(TWIN, Store(tmp_path), percent, lambda name, t: 100 - (name == "OAT 8x81")))
    assert set(row.slope("replay").points) == {None}


def test_a_family_of_which_something_is_missing_is_left_out(tmp_path: Path):
    assert codebook_sizes(Made(TWIN, Store(tmp_path), percent, without=("OAT 8x625",))) == []
    assert codebook_sizes(Results(TWIN, Store(tmp_path))) == []


def test_without_a_continuous_method_there_is_no_line_to_compare_with(tmp_path: Path):
    rows = codebook_sizes(Made(replace(TWIN, methods=TWIN.methods[1:]), Store(tmp_path), percent))
    assert {(row.continuous, row.continuous_gain) for row in rows} == {("", ())}


def test_four_codebooks_of_one_family_are_needed():
    diffusion, *oats = TWIN.methods
    assert replace(TWIN, methods=(diffusion, *oats[:3])).codebooks == []
    assert [len(family) for family in replace(TWIN, methods=(diffusion, *oats[:4])).codebooks] == [4]
    other = oats[0].replace(training__steps=5)
    assert replace(TWIN, methods=(diffusion, *oats[1:4], other)).codebooks == []
