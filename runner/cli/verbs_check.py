"""The verbs that check: replay trains recorded trials again and compares; audit does so with a sample of a study.

| every trial asked for           | exit code |
|---------------------------------|-----------|
| came out again                  | 0         |
| did, but for some that cannot be verified here | 3 |
| did, but for one or more that did not | 6   |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from thalweg.runner.base.errors import StoreError, UsageError
from thalweg.runner.cli import as_json
from thalweg.runner.cli import options as given
from thalweg.runner.cli.output import emit_json, err, out, say
from thalweg.runner.store import Store
from thalweg.runner.terminal.text import clean

if TYPE_CHECKING:
    from thalweg.runner.facts.replayed import Audit, Replayed
    from thalweg.runner.study.settings import Settings

UNVERIFIED, MISMATCHED = 3, 6

Ids = Annotated[
    list[str], typer.Argument(metavar="TRIAL… [KEY=VALUE]", help="Trials' ids; settings such as launcher.workers=2.")
]
Study = Annotated[
    list[str] | None,
    typer.Argument(metavar="[STUDY] [KEY=VALUE]", help="A study's name; settings such as launcher.workers=2."),
]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(epilog="Example: thalweg replay 3f2a 91c0")(replay)
    app.command(epilog="Example: thalweg audit coupling -n 60")(audit)


def replay(words: Ids, store: given.StorePath = None, json: given.Json = False) -> int:
    """Train recorded trials again and compare.

    Weights and every loss: MATCH, MISMATCH (with the first step and quantity that differ), or CANNOT VERIFY (with the
    version, instruction set, device, file or repair that does). They are trained as they were: configuration,
    executor, batch layout. Nothing is written. Exit code: 0 all match, 6 one does not, 3 some cannot be verified.
    """
    ids, settings = split(words)
    if not ids:
        raise UsageError("no trial is named", "give ids, as thalweg ls STUDY --json has them")
    with Store.open(given.store_path(store)) as opened:
        refuse_studies(opened, ids, "thalweg audit STUDY replays a sample of it")
        full = list(dict.fromkeys(opened.trial(each).trial_id for each in ids))
        found = _replayed(opened, full, settings)
    if json:
        emit_json({"replayed": [as_json.replayed(each) for each in found], **as_json.verdicts(found)})
    else:
        from thalweg.runner.terminal.listing import show_replayed

        show_replayed(out(), found)
    return _code(found)


def audit(
    words: Study = None,
    n: Annotated[int, typer.Option("-n", min=1, metavar="N", help="Trials in the sample.")] = 60,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which sample: the same for the same trials.")] = 0,
    store: given.StorePath = None,
    json: given.Json = False,
) -> int:
    """Replay a random sample of a study.

    Says what that bounds: "60 of 60 came out again: fewer than 5% of trials would not, 95% confidence." It is kept
    beside the study, and its report shows it. Exit codes as of replay.
    """
    names, settings = split(words or [])
    if len(names) > 1:
        raise UsageError(f"two studies are named, {names[0]!r} and {names[1]!r}", "audit one at a time")
    path = given.store_path(store)
    with Store.open(path) as opened:
        record = given.study_of(opened, names[0] if names else None)
        if record is None:
            raise UsageError("the store has no study yet", "begin with: thalweg sweep smoke")
        found = _audited(opened, record.name, n, seed, settings)
    _keep(found, path)
    if json:
        emit_json(as_json.audit(found))
    else:
        out().print(Text(clean(f"{found.study}: {found.sentence}"), "bold"))
        for trial_id in found.mismatched:
            out().print(Text(f"{trial_id[:8]} did not: thalweg replay {trial_id[:8]} says where"))
    return MISMATCHED if found.mismatched else UNVERIFIED if found.unverified else 0


def _replayed(opened: Store, ids: Sequence[str], settings: Settings) -> list[Replayed]:
    from thalweg.runner import page
    from thalweg.runner.terminal.progress import SweepProgress

    with SweepProgress(err(), len(ids), "") as progress:
        return page.replay(opened, *ids, settings=settings, listener=progress)


def _audited(opened: Store, name: str, n: int, seed: int, settings: Settings) -> Audit:
    from thalweg.runner import page
    from thalweg.runner.terminal.progress import SweepProgress

    with SweepProgress(err(), n, "") as progress:
        return page.audit(opened, name, n, seed, settings=settings, listener=progress)


def _keep(found: Audit, path: Path) -> None:
    """Store what an audit says; a store that cannot be written is said, and no reason to lose the result."""
    try:
        with Store.open(path, "write") as opened:
            opened.record_audit(found)
    except StoreError as error:
        say(f"the result is not kept: {error.message}")


def split(words: Sequence[str]) -> tuple[list[str], Settings]:
    """Names, and how trials are run: settings alone, since what a trial is stands in the store."""
    from thalweg.runner import config
    from thalweg.runner.study.keys import is_setting

    names = [word for word in words if "=" not in word]
    settings = [word for word in words if "=" in word]
    for word in settings:
        if not is_setting(word.partition("=")[0].lstrip("+~")):
            hint = "leave it out: a stored trial trains as it was"
            raise UsageError(f"{word} is not a setting of how trials are run", hint)
    return names, config.declare(config.Request(tuple(settings))).settings


def refuse_studies(opened: Store, ids: Sequence[str], hint: str) -> None:
    """Raise UsageError for the name of a study where trials are wanted."""
    studies = {each.name for each in opened.studies()}
    for word in ids:
        if word in studies:
            raise UsageError(f"{word} is a study, not a trial", hint.replace("STUDY", word))


def _code(found: Sequence[Replayed]) -> int:
    from thalweg.runner.facts.replayed import Verdict

    verdicts = {each.verdict for each in found}
    if Verdict.MISMATCH in verdicts:
        return MISMATCHED
    return UNVERIFIED if Verdict.CANNOT_VERIFY in verdicts else 0
