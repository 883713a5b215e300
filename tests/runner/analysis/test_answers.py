"""What can be read off an answer."""

from thalweg.runner.analysis import Coupling, Expected, Finding, RowFit


def coupling(slope, *rows, expect=None):
    return Coupling(
        panel="one",
        slope=Finding(name="slope", estimate=slope, n=len(rows), method="planted"),
        rows=rows,
        label="",
        verdict="",
        undetermined=slope is None,
        diverged=0,
        best=None,
        expect=expect,
    )


def test_rows_are_kept_or_dropped_for_a_reason_and_every_row_is_one_of_them():
    rows = [RowFit(1.0, 1.0, kept=True), *(RowFit(lr, None, reason="empty") for lr in (2.0, 3.0))]
    rows.append(RowFit(4.0, 2.0, reason="edge", side=">"))
    found = coupling(-1.0, *rows)
    assert found.dropped == {"empty": 2, "edge": 1}
    assert len(found.kept) + sum(found.dropped.values()) == len(found.rows)


def test_an_expectation_is_met_within_its_tolerance_and_says_nothing_of_what_is_not_known():
    expect = Expected(-1, 0.25)
    assert coupling(-0.75, expect=expect).as_expected is True
    assert coupling(-0.7, expect=expect).as_expected is False
    assert coupling(None, expect=expect).as_expected is None
    assert coupling(-1.0).as_expected is None
