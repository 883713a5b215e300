"""What training a recorded trial again said of it, and what a sample of such says of a study. No torch, no store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from thalweg.runner.show.numbers import count

CONFIDENCE = 0.95


class Verdict(StrEnum):
    """Whether a trial came out again. Cannot verify is no accusation: something else than its results differs."""

    MATCH = "MATCH"
    MISMATCH = "MISMATCH"
    CANNOT_VERIFY = "CANNOT VERIFY"


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A trial that was trained again, or was to be.

    why: what differs, in words. Of a mismatch also the quantity that differs first, and the step. trainable: of what
    cannot be verified, whether it could be trained here all the same.
    """

    trial_id: str
    verdict: Verdict
    why: str = ""
    quantity: str | None = None
    step: int | None = None
    trainable: bool = False


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a random sample of a study's trials, trained again, says of all of them.

    population: trials that are done and in the study. mismatched: ids. reasons: why some could not be verified -> how
    many. versions: of what trained them again. when: ISO 8601 in UTC.
    """

    study: str
    seed: int
    population: int
    matched: int
    mismatched: tuple[str, ...]
    reasons: Mapping[str, int]
    versions: Mapping[str, str]
    device: str
    when: str

    @property
    def verified(self) -> int:
        """Trials of which it is known whether they came out again."""
        return self.matched + len(self.mismatched)

    @property
    def unverified(self) -> int:
        """Trials of the sample of which nothing is known."""
        return sum(self.reasons.values())

    @property
    def bound(self) -> float | None:
        """The largest share of the study's trials that would not come out again, with 95% confidence.

        Clopper and Pearson (1934), one-sided: exact for a sample with replacement, and more than is needed for one
        without. None where nothing was verified; where all trials were, the share itself.
        """
        if not self.verified:
            return None
        if self.verified == self.population:
            return len(self.mismatched) / self.population
        return upper_bound(len(self.mismatched), self.verified)

    @property
    def sentence(self) -> str:
        """The result in words."""
        said = f"{self.matched:,} of {self.verified:,} came out again"
        if self.bound is None:
            return f"none of {count(self.unverified, 'trial')} could be verified: {self.because}"
        if self.verified == self.population:
            said += ", all that the study has"
        else:
            said += f": fewer than {percent(self.bound)} of trials would not, {CONFIDENCE:.0%} confidence"
        return f"{said}; {self.unverified:,} more could not be verified: {self.because}" if self.unverified else said

    @property
    def because(self) -> str:
        """Why trials could not be verified, the commonest reason first."""
        ordered = sorted(self.reasons.items(), key=lambda item: -item[1])
        return "; ".join(f"{why} ({number:,})" if len(ordered) > 1 else why for why, number in ordered)

    @property
    def document(self) -> dict[str, Any]:
        """As JSON values, to be stored."""
        return {**asdict(self), "mismatched": list(self.mismatched), "reasons": dict(self.reasons)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The audit that was stored."""
        return cls(**{**document, "mismatched": tuple(document["mismatched"])})


def percent(share: float) -> str:
    """A share as a percentage, rounded up: to a whole one from 2% on, else to two digits. A bound stays a bound."""
    hundred = 100 * share
    if hundred >= 2:
        return f"{math.ceil(hundred - 1e-9):.0f}%"
    digits = 1 - math.floor(math.log10(hundred)) if hundred > 0 else 0
    return f"{math.ceil(hundred * 10**digits - 1e-9) / 10**digits:.{max(digits, 0)}f}%"


def upper_bound(failed: int, tried: int, confidence: float = CONFIDENCE) -> float:
    """The probability of failing at which `failed` or fewer of `tried` has the probability 1 − confidence.

    With none failed it is 1 − (1 − confidence)^(1/tried).
    """
    if failed >= tried:
        return 1.0
    low, high = failed / tried, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(failed, tried, middle) > 1 - confidence else (low, middle)
    return high


def _at_most(failed: int, tried: int, share: float) -> float:
    """The binomial probability of `failed` or fewer."""
    if share >= 1:
        return float(failed >= tried)
    logs = (
        math.log(math.comb(tried, k)) + k * math.log(share) + (tried - k) * math.log1p(-share)
        for k in range(1, failed + 1)
    )
    return math.fsum([(1 - share) ** tried, *map(math.exp, logs)])
