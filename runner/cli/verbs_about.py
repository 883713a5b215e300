"""The verbs about the surroundings: what can be configured, what W&B still lacks, what the machine can do."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli import options as given
from thalweg.runner.cli.output import emit_json, err, out, say
from thalweg.runner.terminal.text import clean, row, table

BROKEN = 1


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(epilog="Example: thalweg config, or what a command means: thalweg config coupling seed=0")(config)
    app.command(epilog="Example: thalweg sync coupling")(sync)
    app.command("import-wandb", epilog="Example: thalweg import-wandb sweep.yaml --to my/study/mine.yaml")(import_wandb)
    app.command(epilog="Example: thalweg doctor")(doctor)
    app.command(epilog="Example: thalweg init my-project, then: cd my-project && thalweg sweep")(init)


def config(
    words: given.Words = None,
    json: given.Json = False,
    config_dir: given.ConfigDir = None,
    config_name: given.ConfigName = None,
    resolve: given.Resolve = False,
    multirun: given.Multirun = False,
) -> None:
    """List what can be configured, or compose a configuration.

    Alone: the groups and their options. With a study or overrides: the configuration they mean, as YAML.
    """
    from thalweg.runner import config as configuration

    if words:
        request = configuration.Request(tuple(words), config_dir, config_name)
        if json:
            emit_json({"config": configuration.declare(request).base_config})
        else:
            out().file.write(configuration.job(request, resolve))
        return
    groups = configuration.groups(config_dir)
    if json:
        emit_json({"groups": {group: dict(options) for group, options in groups.items()}})
        return
    made = table("group", "option", "what it is")
    for group, options in groups.items():
        for number, (option, comment) in enumerate(options):
            row(made, "" if number else group, option, comment)
    out().print(made)
    say("use one: thalweg run GROUP=OPTION; see what it means: thalweg config GROUP=OPTION")


def sync(
    words: given.Words = None,
    store: given.StorePath = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written and uploaded.")] = False,
) -> int:
    """Go on writing W&B runs, and upload them.

    Of one study or of all; what is there already is left alone. Without an account nothing is uploaded, nothing asked.
    """
    from thalweg.runner import config as configuration
    from thalweg.runner.cli.export import export_stored, typed

    words_given = [word for word in words or () if word.startswith("tracker")]
    names = [given.plain_name(word) for word in words or () if word not in words_given]
    opened = given.open_to_read(store, names)
    if opened is None:
        return 0
    with opened:
        study = opened.study(names[0]).name if names else None
        settings = configuration.declare(configuration.Request(tuple(words_given))).settings.tracker
        screen = err()
        with screen.status(Text("W&B …")) as status:

            def report(what: str, done: int, total: int) -> None:
                status.update(Text(f"W&B {done:,}/{total:,} {what}"))

            result = export_stored(
                opened, study, settings, typed(words_given), asked_to_upload=True, dry_run=dry_run, report=report
            )
    for warning in result.warnings:
        say(warning)
    out().print(Text(clean(result.line)), soft_wrap=True)
    return BROKEN if result.problem else 0


def import_wandb(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML of `wandb sweep`.")],
    to: Annotated[Path | None, typer.Option("--to", metavar="PATH", help="The study file to write, a new one.")] = None,
) -> None:
    """Turn a sweep file of Weights & Biases into a study.

    Its grid or its random draws, as a study file on stdout or in a file. What has no counterpart is named.
    """
    from thalweg.runner.config.sweep_file import study_of

    text, said = study_of(file)
    for line in said:
        say(line)
    if to is None:
        out().file.write(text)
        return
    if to.exists():
        raise UsageError(f"{given.shown(to)} is there already", "give --to another name")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text)
    except OSError as error:
        raise UsageError(f"{given.shown(to)} cannot be written: {error.strerror}") from None
    if to.parent.name == "study":
        folder = shlex.quote(given.shown(to.absolute().parent.parent))
        say(f"next: thalweg plan {shlex.quote(to.stem)} --config-dir {folder}")


def doctor(store: given.StorePath = None, json: given.Json = False) -> int:
    """Check this machine and environment.

    The exit code is 1 if something that is needed fails.
    """
    from thalweg.runner.machine.doctor import examine

    checks = examine(given.store_path(store))
    failed = any(check.ok is False for check in checks)
    if json:
        keys = ("name", "ok", "detail", "remedy")
        emit_json({"ok": not failed, "checks": [{key: getattr(each, key) for key in keys} for each in checks]})
        return BROKEN if failed else 0
    made = table("", "check", "found")
    for check in checks:
        mark = {True: "ok", False: "FAIL", None: "note"}[check.ok]
        found = check.detail + (f" → {check.remedy}" if check.remedy and not check.ok else "")
        row(made, mark, check.name, found, style=None if check.ok else "bold")
    out().print(made)
    return BROKEN if failed else 0


def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")]) -> None:
    """Write a small project to begin with.

    A model, data, their YAML, a study and a test.

    It works at once: cd DIR && thalweg sweep
    """
    from thalweg.runner.project.template import write_project

    for name in write_project(folder):
        out().print(Text(clean(name)))
    say(f"begin with: cd {shlex.quote(str(folder))} && thalweg sweep")
