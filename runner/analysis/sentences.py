"""A coupling's verdict in words that can be quoted: what the slope allows, what it excludes, what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from thalweg.runner.analysis.answers import Edge, Expected, Finding, RowFit
from thalweg.runner.analysis.rows import Drop
from thalweg.runner.show.numbers import count, short

MARGIN = 0.15
"""A picture is an idealisation: the interval allows it if it comes this close. Measured slopes of nets with
scale-invariant weights lie up to 0.11 beside their theory."""
CLOSE = 0.35
"""A picture is claimed only of an estimate this close to it."""
WIDE = 1.0
"""An interval this wide, the distance between two pictures, claims none."""
PICTURES = {
    -2.0: ("only lr²·wd matters", "lr²·wd", "nearly lr²·wd alone"),
    -1.0: ("only lr·wd matters", "lr·wd", "nearly lr·wd alone"),
    0.0: ("separable", "separable", "nearly separable"),
    1.0: ("only wd/lr matters", "wd/lr", "nearly wd/lr alone"),
}
"""Slope -> the picture that has it, in words, in brief, and where the interval comes close but leaves it out."""
MEANING = {
    "only lr²·wd matters": "divide the weight decay by 4 when you double the learning rate",
    "only lr·wd matters": "halve the weight decay when you double the learning rate",
    "separable": "keep the same weight decay at every learning rate",
    "only wd/lr matters": "double the weight decay when you double the learning rate",
    "nearly lr²·wd alone": "divide the weight decay by about 4 when you double the learning rate",
    "nearly lr·wd alone": "halve the weight decay, or nearly so, when you double the learning rate",
    "nearly separable": "keep nearly the same weight decay at every learning rate",
    "nearly wd/lr alone": "double the weight decay, or nearly so, when you double the learning rate",
}
"""Verdict -> what it means for somebody who sets both."""
SAYS_LITTLE = (Drop.EMPTY.phrase, Drop.GUESS.phrase, Drop.FAR.phrase)
"""Reasons of rows that could not have counted whatever the grid."""
AXES = {0.0: "wd", -1.0: "lr·wd", 1.0: "wd/lr", -2.0: "lr²·wd", 2.0: "wd/lr²", -0.5: "√lr·wd", 0.5: "wd/√lr"}


@dataclass(frozen=True)
class Said:
    """A verdict: in a few words, in sentences, and which pictures it leaves and excludes."""

    label: str
    verdict: str
    undetermined: bool
    consistent: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


def axis(exponent: float | None) -> str:
    """The axis along which columns of constant wd / lr^e lie."""
    return AXES.get(exponent or 0.0, "wd")


def say(
    slope: Finding, rows: Sequence[RowFit], edge: Sequence[Edge], expect: Expected | None, fewest: int, flips: int
) -> Said:
    """Word what is known of a slope. fewest: rows needed to know anything. flips: cells where decay turns signs."""
    turned = (
        f"In {count(flips, 'cell')} lr·wd is so large that weight decay alone changes the signs of weights"
        if flips
        else ""
    )
    if slope.estimate is None:
        why = _why(rows, fewest)
        tally = f"{_tally(rows)}; {fewest} are needed"
        return Said(
            f"not identified: {why}",
            _sentences("Not identified", tally, *_advice(edge), turned, _beside(None, expect)),
            True,
        )
    consistent = tuple(each for each in PICTURES if _allows(slope, each))
    label = _label(slope, consistent)
    excluded = tuple(PICTURES[each][0] for each in PICTURES if each not in consistent)
    verdict = _sentences(
        f"{label}: {_meaning(label, slope.estimate)} (slope {signed(slope.estimate)}, {interval(slope)})",
        *(
            f"The interval comes near to {short(each)} but does not include it"
            for each in consistent
            if _outside(slope, each)
        ),
        f"Excluded: {', '.join(excluded)}" if excluded else "Nothing is excluded",
        _tally(rows),
        *_advice(edge),
        turned,
        _beside(slope.estimate, expect),
        *slope.caveats,
    )
    return Said(label, verdict, len(consistent) > 1, tuple(_named(slope, each) for each in consistent), excluded)


def _meaning(label: str, slope: float) -> str:
    return MEANING.get(
        label, f"when the learning rate doubles, the best weight decay is multiplied by {short(2**slope, 2)}"
    )


def signed(value: float) -> str:
    """A slope with two decimals and always a sign, but for 0."""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text


def interval(slope: Finding) -> str:
    """The interval of a slope: 95% -1.18 to -0.94."""
    assert slope.low is not None
    assert slope.high is not None
    return f"95% {signed(slope.low)} to {signed(slope.high)}"


def _allows(slope: Finding, picture: float) -> bool:
    assert slope.low is not None
    assert slope.high is not None
    return slope.low - MARGIN <= picture <= slope.high + MARGIN


def _outside(slope: Finding, picture: float) -> bool:
    """Whether a picture that is allowed is so by the margin alone, by the interval as it is printed."""
    assert slope.low is not None
    assert slope.high is not None
    return not round(slope.low, 2) <= picture <= round(slope.high, 2)


def _named(slope: Finding, picture: float, brief: bool = False) -> str:
    """A picture, called nearly so where the interval leaves it out."""
    return PICTURES[picture][2 if _outside(slope, picture) else int(brief)]


def _label(slope: Finding, consistent: Sequence[float]) -> str:
    """The picture that the slope is close to, if it is the only one left; else what is left, or ruled out."""
    assert slope.estimate is not None
    if len(consistent) > 1:
        return f"undecided: {' or '.join(_named(slope, each, brief=True) for each in consistent)}"
    nearest = sorted(PICTURES, key=lambda each: abs(each - (slope.estimate or 0.0)))
    if consistent == tuple(nearest[:1]) and abs(nearest[0] - slope.estimate) <= CLOSE and _width(slope) < WIDE:
        return _named(slope, nearest[0])
    ruled_out = [PICTURES[each][1] for each in nearest if each not in consistent][:2]
    return ", ".join(f"not {each}" for each in ruled_out)


def _width(slope: Finding) -> float:
    assert slope.low is not None
    assert slope.high is not None
    return slope.high - slope.low


def _why(rows: Sequence[RowFit], fewest: int) -> str:
    """The reason that most rows are dropped for, of those that could have counted."""
    dropped = [row.reason for row in rows if not row.kept]
    telling = [reason for reason in dropped if reason not in SAYS_LITTLE] or dropped
    return Counter(telling).most_common(1)[0][0] if telling else f"fewer than {fewest} learning rates"


def _tally(rows: Sequence[RowFit]) -> str:
    dropped = Counter(row.reason for row in rows if not row.kept)
    kept = sum(row.kept for row in rows)
    left = ", ".join(f"{number} ({reason})" for reason, number in dropped.most_common())
    return f"{kept} of {count(len(rows), 'learning rate')} used{f'; left out: {left}' if left else ''}"


def _advice(edge: Sequence[Edge]) -> list[str]:
    """Which axis to widen past which of its ends."""
    return [
        f"Widen {_axis_said(each.along)} {each.side} {short(each.at, 2)}, where {count(each.rows, 'learning rate')}"
        f" {'has its' if each.rows == 1 else 'have their'} best"
        for each in edge
        if each.axis == "wd"
    ]


def _axis_said(along: str) -> str:
    return "the weight decay" if along == "wd" else along


def _beside(estimate: float | None, expect: Expected | None) -> str:
    if expect is None:
        return ""
    said = f"Expected beforehand: {short(expect.slope)} ± {short(expect.tolerance)}"
    return (
        said
        if estimate is None
        else f"{said}, {'and so it came out' if expect.met_by(estimate) else 'and it came out otherwise'}"
    )


def _sentences(*parts: str) -> str:
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts if part)
