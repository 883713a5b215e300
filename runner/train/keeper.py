"""A sweep's side of kept weights: where workers write them, how large that gets, and which did not arrive.

Workers write before their driver commits, wherever they run. So what is here is looked at here, whatever trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from thalweg.runner.facts.observation import Observations
from thalweg.runner.facts.weights import Size
from thalweg.runner.planning.plan import Plan
from thalweg.runner.show.numbers import count
from thalweg.runner.show.numbers import size as told
from thalweg.runner.store import Store
from thalweg.runner.study.settings import Keeps
from thalweg.runner.study.trial import Trial
from thalweg.runner.train import kept
from thalweg.runner.train.messages import Keep

Counted = Callable[[Sequence[Trial]], Sequence[Size | None]]
"""What trials take that are kept, told from their models."""


class Keeper:
    """What becomes of the final weights of the trials that one sweep trains."""

    def __init__(self, store: Store, keeps: Keeps) -> None:
        self.store, self.keeps = store, keeps
        self.folder = kept.folder_of(store.path)
        self.keep = None if keeps == "none" else Keep(str(self.folder))
        self._lacking: list[str] = []
        self._said = False

    def committed(self, observations: Sequence[Observations], trials: int, say: Callable[[str], None]) -> None:
        """Look for the weights of trials that were committed. trials: how many the sweep trains."""
        if self.keep is None:
            return
        hashes = self.store.weight_hashes(each.trial_id for each in observations)
        self._lacking += kept.lacking(self.folder, hashes)
        size = None if self._said else kept.size_of(self.folder, hashes)
        if size is not None:
            self._said = True
            once = f" and {told(size.once)} of frozen parameters once" if size.once else ""
            in_all = f"{told(size.of(trials))} for {count(trials, 'trial')} if all are as large"
            say(f"keep={self.keeps}: weights of {told(size.each)} a trial{once}, {in_all}{self._until}")

    @property
    def _until(self) -> str:
        return ", until the sweep ends and the best are known" if self.keeps == "best" else ""

    def end(self, say: Callable[[str], None], *, alone: bool) -> None:
        """Say what is not there, and remove what is nobody's. alone: no other sweep is at work on the store."""
        if self.folder.exists() and alone:
            kept.tidy(self.folder, self.store.weight_hashes)
        if self._lacking:
            missing = f"the weights of {count(len(self._lacking), 'trial')} are not in {self.folder}"
            say(f"{missing} ({self._lacking[0][:8]} is the first); thalweg weights ID trains one again")


def foretold(made: Plan, store: Store | None, keep: str, counted: Counted | None = None) -> list[str]:
    """Return sentences on how large the weights get that a sweep would keep, and on what is done and was not kept.

    counted: tells it of trials of which none like them was kept, one of each structure.
    """
    if keep == "none":
        return []
    hashes = store.group_hashes([group.group_id for group in made.groups]) if store else {}
    folder = kept.folder_of(store.path) if store else Path()
    sizes = {g.group_id: kept.size_of(folder, hashes.get(g.group_id, {})) for g in made.groups}
    new = [group for group in made.groups if sizes[group.group_id] is None] if counted else []
    if counted and new:
        found = counted([group.trials[0] for group in new])
        sizes |= {group.group_id: size for group, size in zip(new, found, strict=True)}
    each = [(len(group.trials), sizes[group.group_id]) for group in made.groups]
    known, unknown = sum(size.of(n) for n, size in each if size), sum(n for n, size in each if size is None)
    about = "about " if any(sizes[group.group_id] for group in new) else ""
    later = " until the sweep ends, then those of the best cell" if keep == "best" else ""
    where = f" in {folder}" if store else ""
    said = [f"keep={keep}: {about}{told(known)} of weights{where}{later}"] if known else []
    if unknown:
        of = f"of {count(unknown, 'trial')} none like them was kept; the size of their weights"
        said.append(f"keep={keep}: {of} is said once one has ended")
    done = store.weight_hashes({member.trial.id for member in made.members}) if store and keep == "all" else {}
    if gone := len(kept.lacking(folder, done)):
        again = f"{count(gone, 'done trial')} without kept weights: thalweg weights ID trains one again"
        said.append(f"keep={keep}: {again}")
    return said


def taken_in(store: Store, other: Store) -> list[str]:
    """Copy the kept weights of another store's trials, as far as they are stored here with that hash; say what came."""
    came, wrong = kept.bring(kept.folder_of(other.path), kept.folder_of(store.path), store.weight_hashes)
    return [f"kept weights of {count(came, 'trial')} copied"] * bool(came) + wrong
