"""What a slope with its interval is said to show."""

import pytest

from thalweg.runner.analysis import Finding
from thalweg.runner.analysis.sentences import say


def said(estimate, low, high):
    slope = Finding(name="slope", estimate=estimate, low=low, high=high, n=6, method="planted")
    return say(slope, (), (), None, 4, 0)


@pytest.mark.parametrize(
    ("slope", "label", "undetermined"),
    [
        ((-1.07, -1.18, -0.94), "only lr·wd matters", False),
        ((-0.11, -0.14, -0.09), "nearly separable", False),
        ((-0.05, -0.14, 0.01), "separable", False),
        ((-1.08, -1.10, -1.06), "nearly lr·wd alone", False),
        ((0.51, 0.10, 1.03), "undecided: nearly separable or wd/lr", True),
        ((-1.91, -2.07, -1.57), "only lr²·wd matters", False),
        ((1.25, 1.13, 1.52), "nearly wd/lr alone", False),
        ((1.1, 0.95, 1.52), "only wd/lr matters", False),
        ((0.53, 0.21, 0.98), "not separable, not lr·wd", False),  # allowed but far from it
        ((0.42, 0.22, 1.36), "not separable, not lr·wd", False),  # allowed by a wide interval
        ((-0.5, -0.6, -0.4), "not lr·wd, not separable", False),
        ((-0.4, -1.2, 0.3), "undecided: lr·wd or separable", True),
    ],
)
def test_a_picture_is_claimed_only_of_a_slope_close_to_it_that_no_other_explains(slope, label, undetermined):
    found = said(*slope)
    assert sorted(found.label.split(", ")) == sorted(label.split(", "))
    assert found.undetermined is undetermined
    assert len(found.consistent) + len(found.excluded) == 4
