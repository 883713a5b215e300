"""The command line: verbs, their options, and the one border where errors become sentences. The only door to Typer.

app             the verbs, and the border
options         types and words that all verbs have in common
output          data to stdout, all else to stderr
as_json         what --json prints
verbs_train     plan, sweep, run
afterwards      what follows training, and may fail alone
verbs_read      ls, show, best
verbs_decide    recommend, refine
verbs_analyze   analyze
verbs_report    report
verbs_about     config, sync, doctor, init
export          the store's records as the tracker's
"""

from thalweg.runner.cli.app import main

__all__ = ["main"]
