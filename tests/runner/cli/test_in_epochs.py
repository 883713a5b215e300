"""An axis that was given in epochs is read in epochs, whoever shows it. Nothing is trained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from store_cases import cohort_of, make_observations
from test_cli import desk, thalweg  # noqa: F401

from thalweg.runner import page
from thalweg.runner.store import Store

Call = Callable[..., tuple[int, str, str]]
GRID = ("optimizer=sgd", "dataset.train_size=613", "optimizer.lr=0.1,0.2", "study.name=mine", "tracker=none")
LENGTHS = {
    "one batch size": ("budget.batch_size=10",),
    "two batch sizes": ("budget.batch_size=10,20",),
    "two batch sizes, zipped": ("pair=zip(budget.steps=choice(7ep,30ep),budget.batch_size=choice(10,20))",),
}
STEPS = ("430", "1839", "1,839", "215", "920")
"""What 7 and 30 epochs are with either batch size; no reader says so."""


@pytest.fixture(params=LENGTHS)
def words(request: pytest.FixtureRequest, desk: Path) -> tuple[str, ...]:  # noqa: F811
    """The words of a study that is trained, in a store in the current folder."""
    apart = LENGTHS[request.param]
    words = (*GRID, *apart, *([] if "zip" in apart[0] else ["budget.steps=7ep,30ep"]))
    declared = page.declare(*words)
    with Store.open(desk / "results" / "thalweg.sqlite", "write") as store:
        made = page.plan(declared.study, store)
        page.record(made, store)
        for group in made.groups:
            members = [member for member in made.members if member.trial.group_id == group.group_id]
            cohort = cohort_of(members, "mine")
            seen = [make_observations(i, loss=0.3 + 0.1 * n, points=20) for n, i in enumerate(cohort.trial_ids)]
            store.commit(store.open_cohort(cohort), seen)
    return words


READERS = [
    ("ls", "--study", "mine"),
    ("ls", "--study", "mine", "--csv"),
    ("ls", "--study", "mine", "--sort", "-budget.steps", "--json"),
    ("best", "mine"),
    ("best", "mine", "-n", "3"),
    ("show", "mine"),
    ("recommend", "mine"),
    ("export", "trials", "mine", "--csv"),
]


def test_every_reader_says_epochs(words: tuple[str, ...], thalweg: Call) -> None:  # noqa: F811
    for reader in READERS:
        code, out, err = thalweg(*reader)
        assert code in (0, 2), (reader, err)
        if code == 0:
            assert "7ep" in out or "30ep" in out, reader
            told = re.sub(r"\b[0-9a-f]{8,}\b", "", out)  # but for ids
            assert not [steps for steps in STEPS if steps in told], (reader, out)


def test_a_plan_and_a_trial_say_epochs(words: tuple[str, ...], thalweg: Call) -> None:  # noqa: F811
    more = [word.replace("30ep", "30ep,50ep").replace("10,20)", "10,20,25)") for word in words]
    code, out, _ = thalweg("plan", *more, "--no-probe")
    assert (code, "50ep" in out) == (0, True)
    trial = json.loads(thalweg("ls", "--study", "mine", "--json", "-n", "1")[1])["trials"][0]["id"]
    assert "budget.steps=7ep" in thalweg("show", trial)[1]
    (place,) = json.loads(thalweg("show", trial, "--json")[1])["trial"]["studies"]
    assert place["axes"]["budget.steps"] == "7ep"


def test_the_report_says_epochs(words: tuple[str, ...], thalweg: Call, desk: Path) -> None:  # noqa: F811
    assert thalweg("report", "mine")[0] == 0
    html = (desk / "results" / "mine.html").read_text()
    assert "7, 30 epochs" in html


def test_conditions_count_in_steps(words: tuple[str, ...], thalweg: Call) -> None:  # noqa: F811
    """As those of `exclude` do."""
    whole = json.loads(thalweg("ls", "--study", "mine", "--json")[1])["trials"]
    longer = json.loads(thalweg("ls", "budget.steps > 500", "--study", "mine", "--json")[1])["trials"]
    assert [each["axes"]["budget.steps"] for each in longer] == ["30ep"] * (len(whole) // 2)
