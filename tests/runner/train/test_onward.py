"""A longer trial goes on from a shorter one's state, to the bits of one trained at once, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from backends import InProcess

from thalweg.optim.build import multipliers
from thalweg.runner import page
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.store import Store
from thalweg.runner.study.longer import common_steps, why_not
from thalweg.runner.train import driver, kept, lasting, worker
from thalweg.runner.train.keeper import taken_in
from thalweg.runner.train.messages import Event, Hello, Train, Work

WORDS = (
    "tracker=none", "study.name=mine", "evaluation.points=4", "model.hidden=[4]", "seed=0..1",
    "optimizer.lr=0.003,0.01",
)  # fmt: skip
SCHEDULES = {
    "constant": ("schedule=constant", "schedule.warmup=7"),
    "inverse_sqrt": ("schedule=inverse_sqrt", "schedule.warmup=7"),
    "wsd": ("schedule=wsd", "schedule.warmup=7", "schedule.cooldown=13"),
}
EXECUTORS = ("loop", "vmap", "traced")


@pytest.fixture(autouse=True, scope="module")
def as_in_a_worker() -> None:
    prepare()


class Swept(driver.Silent):
    """What a sweep said, and the work that it gave."""

    def __init__(self, path: Path, *words: str, **versions: str) -> None:
        self.notes: list[str] = []
        self.works: list[Work] = []
        bench = worker.Bench(SimpleNamespace(send=self._heard), torch.device("cpu"))  # type: ignore[arg-type]

        def does(work: Work) -> Iterator[Event]:
            self.works.append(work)
            yield bench.do(work)

        hello = worker._device("cpu")[1]
        backend = InProcess(does, hello=Hello(hello.device, hello.device_name, hello.versions | versions))
        declared = page.declare(*WORDS, *words)
        with Store.open(path, "write") as store:
            page.sweep(page.plan(declared.study, store), store, declared.settings, self, backend)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _heard(self, said: Any) -> None:
        if text := getattr(said, "text", ""):
            self.notes.append(text)

    @property
    def onward(self) -> int:
        """How many trials were given to go on."""
        return sum(len(work.onward) for work in self.works if isinstance(work, Train))

    def told(self, words: str) -> list[str]:
        return [note for note in self.notes if words in note]


def results(path: Path, steps: int) -> list[tuple[Any, ...]]:
    with Store.open(path) as store:
        records = [each for each in store.export_rows() if each.config["budget"]["steps"] == steps]
        return [
            (
                each.trial_id,
                each.weight_hash,
                dict(each.metrics),
                {name: (s.steps.tolist(), s.values.tolist()) for name, s in store.series(each.trial_id).items()},
            )
            for each in sorted(records, key=lambda each: each.trial_id)
        ]


def compared(tmp_path: Path, short: int, long: int, *words: str) -> tuple[Swept, Swept]:
    """Train short, then long; and long at once. Both are the same in all that is stored."""
    first = Swept(tmp_path / "s.sqlite", f"budget.steps={short}", "keep=all", *words)
    then = Swept(tmp_path / "s.sqlite", f"budget.steps={long}", *words)
    Swept(tmp_path / "once.sqlite", f"budget.steps={long}", *words)
    assert results(tmp_path / "s.sqlite", long) == results(tmp_path / "once.sqlite", long)
    return first, then


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_it_ends_with_all_that_one_trained_at_once_ends_with(tmp_path: Path, schedule: str, executor: str) -> None:
    _, then = compared(tmp_path, 60, 120, *SCHEDULES[schedule], f"engine={executor}")
    assert then.onward == 4
    step = 47 if schedule == "wsd" else 60
    assert len(then.told(f"go on from step {step} of shorter ones")) == len(then.works)


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        ("optimizer=sgd", "optimizer.momentum=0.9"),
        ("optimizer=muon",),
        ("optimizer=adamw", "optimizer.amsgrad=true"),
        ("model.norm=batch",),
        ("model.dropout=0.2",),
        ("sam=standard",),
        ("dataset.augment=[mixup]",),
        ("precision=float64",),
        ("average=ema",),
        ("budget.accumulate=2",),
    ],
    ids=" ".join,
)
def test_slots_buffers_and_draws_go_on_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    _, then = compared(tmp_path, 40, 80, *SCHEDULES["constant"], "engine=vmap", *words)
    assert then.onward == 4


@pytest.mark.long
def test_from_600_to_1200_steps(tmp_path: Path) -> None:
    words = (*SCHEDULES["constant"], "engine=traced", "evaluation.points=10")
    _, then = compared(tmp_path, 600, 1200, *words)
    assert then.told("go on from step 600")


@pytest.mark.long
def test_from_there_it_goes_on_again_if_it_was_kept(tmp_path: Path) -> None:
    words = (*SCHEDULES["constant"], "engine=vmap")
    Swept(tmp_path / "s.sqlite", "budget.steps=20", "keep=all", *words)
    _, then = compared(tmp_path, 40, 80, *words)
    assert then.told("go on from step 40")
    assert then.onward == 4


@pytest.mark.long
def test_a_group_that_goes_on_trains_as_the_shorter_did_and_its_new_trials_with_it(tmp_path: Path) -> None:
    path, words = tmp_path / "s.sqlite", (*SCHEDULES["constant"], "engine=auto")
    Swept(path, "budget.steps=60", "keep=all", *words, "optimizer.lr=0.003")
    then = Swept(path, "budget.steps=120", *words)
    assert then.onward == 2
    assert not then.told("as fast as")  # nothing was measured
    with Store.open(path) as store:
        hows = {(each.cohort.executor, each.cohort.layout) for each in store.export_rows() if each.cohort}
    assert len(hows) == 1
    Swept(tmp_path / "once.sqlite", "budget.steps=120", *words, f"engine={next(iter(hows))[0]}")
    assert results(path, 120) == results(tmp_path / "once.sqlite", 120)


REFUSED = {
    "cosine": (("schedule=warmup_cosine", "schedule.warmup=7"), (), "goes by the share of budget.steps"),
    "linear": (("schedule=linear", "schedule.warmup=10%"), (), "goes by the share of budget.steps"),
    "one_cycle": (("schedule=one_cycle", "schedule.warmup=7"), (), "goes by the share of budget.steps"),
    "share": (("schedule=constant", "schedule.warmup=10%"), (), "schedule.warmup is 12 steps and was 6; write steps"),
    "cooldown": (
        ("schedule=wsd", "schedule.warmup=7", "schedule.cooldown=10%"), (), "schedule.cooldown is 12 steps and was 6",
    ),
    "points": (SCHEDULES["constant"], ("evaluation.points=7",), "measurements that were not made, as at step 17"),
    "executor": (
        SCHEDULES["constant"], ("engine=loop",),
        "4 trials start from the beginning, though a shorter one was kept: that was trained by engine=vmap, and now",
    ),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", REFUSED)
def test_where_it_cannot_one_sentence_says_why_and_it_trains_from_the_start(tmp_path: Path, name: str) -> None:
    words, later, said = REFUSED[name]
    path = tmp_path / "s.sqlite"
    Swept(path, "budget.steps=60", "keep=all", "engine=vmap", *words)
    then = Swept(path, "budget.steps=120", "engine=vmap", *words, *later)
    assert not then.told("go on from step")
    assert len(then.told(said)) == 1
    Swept(tmp_path / "once.sqlite", "budget.steps=120", "engine=vmap", *words, *later)
    assert results(path, 120) == results(tmp_path / "once.sqlite", 120)


@pytest.mark.long
@pytest.mark.parametrize("how", ["damaged", "gone", "torch"])
def test_a_state_that_is_of_no_use_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    path, words = tmp_path / "s.sqlite", (*SCHEDULES["constant"], "engine=vmap")
    Swept(path, "budget.steps=60", "keep=all", *words)
    states = [file for file in kept.files(kept.folder_of(path)) if file.step]
    assert len(states) == 4
    for file in states:
        content = file.path.read_bytes()
        file.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1])) if how == "damaged" else None
        file.path.unlink() if how == "gone" else None
    if how == "damaged":
        with Store.open(path) as store:
            assert len(kept.faults(kept.folder_of(path), store.weight_hashes)) == 4
    if how == "torch":
        versions = worker._versions() | {"torch": "0.9"}
        monkeypatch.setattr(worker, "_versions", lambda: versions)
    then = Swept(path, "budget.steps=120", *words)
    assert not then.told("go on from step")
    said = {"damaged": "the hash in its name", "gone": "its state at step 60 was not", "torch": "was made by torch"}
    assert then.told(said[how])


@pytest.mark.long
def test_states_are_there_only_where_a_longer_trial_has_the_same_steps(tmp_path: Path) -> None:
    for name, words in (*SCHEDULES.items(), ("cosine", REFUSED["cosine"][0])):
        path = tmp_path / f"{name}.sqlite"
        Swept(path, "budget.steps=60", "keep=all", "engine=vmap", *words)
        steps = set(lasting.steps_of(kept.folder_of(path)).values())
        assert steps == {"cosine": set(), "wsd": {47}}.get(name, {60})
    Swept(path, "budget.steps=60", "engine=vmap", *SCHEDULES["constant"])
    assert not lasting.steps_of(kept.folder_of(path))


def test_states_go_with_their_trials_and_come_with_a_merge(tmp_path: Path) -> None:
    path, other = tmp_path / "s.sqlite", tmp_path / "o.sqlite"
    Swept(path, "budget.steps=60", "keep=best", "engine=vmap", *SCHEDULES["constant"])
    assert len({file.trial_id for file in kept.files(kept.folder_of(path))}) == 2
    with Store.open(other, "write") as store, Store.open(path) as share:
        store.merge(share)
        assert taken_in(store, share) == ["kept weights of 2 trials copied"]
        assert len(lasting.steps_of(kept.folder_of(other))) == 2
        store.remove(store.removal(["mine"], []))
        kept.tidy(kept.folder_of(other), store.weight_hashes)
    assert not kept.folder_of(other).exists()


@pytest.mark.long
@pytest.mark.parametrize("schedule", [*SCHEDULES.values(), *(words for words, _, _ in REFUSED.values())])
@pytest.mark.parametrize("longer", [61, 90, 1000])
def test_common_steps_are_those_whose_rates_are_the_same(schedule: tuple[str, ...], longer: int) -> None:
    """Of every schedule: as many, and where there are some, no more, but for the first of a cooldown, which is at 1."""
    words = [word.replace("10%", "6") for word in schedule]
    config = page.plan(page.declare(*WORDS, *words, "budget.steps=60").study).groups[0].trials[0].config
    then, now = (multipliers(config.schedule, total, np.arange(60)) for total in (60, longer))
    same = common_steps(config)
    assert np.array_equal(then[:same], now[:same])
    assert bool(why_not(config)) == (same == 0)
    assert same in (0, 60) or then[same + 1] != now[same + 1]


@pytest.mark.long
def test_where_a_rule_may_stop_it_early_it_starts_anew(tmp_path: Path) -> None:
    """What a trial measured at a rung must be of that rung, which a state of later lies beyond."""
    path, words = tmp_path / "s.sqlite", (*SCHEDULES["constant"], "engine=vmap", "keep=all")
    Swept(path, "budget.steps=60", *words)
    rule = "study.stop={rule: halving, rungs: [25%], eta: 2}"
    then = Swept(path, "budget.steps=120", *words, rule)
    assert then.onward == 0
    assert then.told("its study may stop it early")
    done = {trial_id for trial_id, *_ in results(path, 120)}
    assert {file.trial_id for file in kept.files(kept.folder_of(path))} >= done
    assert len(done) == 2
