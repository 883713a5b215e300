"""A few tables of each kind that scripts/calibrate draws: intervals cover, and open questions are called open."""

import pytest
from tables import ROOT, calibrate

TABLES = 10


@pytest.mark.long
def test_intervals_cover_and_are_not_wide():
    covered = total = 0
    for case in calibrate["KNOWN"]:
        found = [(slope, each.slope) for slope, each in calibrate["answers"](case, TABLES)]
        named = [(slope, each) for slope, each in found if each.estimate is not None]
        assert len(named) >= TABLES - 1, case.name
        covered += sum(each.low <= slope <= each.high for slope, each in named)
        total += len(named)
        assert sum(each.high - each.low for _, each in named) / len(named) < 0.5, case.name
    assert 0.9 <= covered / total <= 0.995  # 160 tables of 16 kinds; docs/analysis.md has more of each


@pytest.mark.long
def test_intervals_cover_where_the_design_knows_nothing_of_the_slope():
    covered = total = named = 0
    for case in calibrate["KINDS"]:
        found = [(slope, each.slope) for slope, each in calibrate["answers"](case, 4)]
        covered += sum(each.low <= slope <= each.high for slope, each in found if each.estimate is not None)
        named += sum(each.estimate is not None for _, each in found)
        total += len(found)
    assert covered / named >= 0.93  # of 168 tables of 42 kinds
    assert named / total >= 0.93


@pytest.mark.parametrize("case", calibrate["OPEN"], ids=lambda case: case.name)
def test_questions_that_a_table_cannot_answer_are_left_open(case):
    found = calibrate["answers"](case, TABLES)
    assert sum(each.undetermined and each.slope.estimate is None for _, each in found) >= TABLES - 1


def test_the_published_figures_are_of_the_cases_that_the_script_has():
    page = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
    for case in (*calibrate["KINDS"], *calibrate["KNOWN"], *calibrate["OPEN"]):
        assert f"| {case.name} | " in page, "run scripts/calibrate --write"
