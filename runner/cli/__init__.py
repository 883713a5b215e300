"""The command line: verbs, their options, and the one border where errors become sentences. The only door to Typer."""

from runner.cli.app import main

__all__ = ["main"]
