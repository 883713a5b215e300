"""The command line: verbs, their options, and the one border where errors become sentences. The only door to Typer.

app             the verbs, and the border
options         types and words that all verbs have in common
output          data to stdout, all else to stderr
as_json         what --json prints
list_trials     the trials that ls lists, chosen by conditions
mirror          the processes that write W&B runs beside training and after it
growth          runs of trials that still train, which grow
tables          tables as CSV, JSON, Parquet or text, for all verbs alike
verbs_train     plan, sweep, run
afterwards      what follows training, and may fail alone
verbs_read      ls, show, best
verbs_decide    recommend, refine
verbs_analyze   analyze
verbs_report    report
verbs_check     replay, audit
verbs_cluster   collect, and what --submit does
verbs_keep      rm, gc, rename, tag, note
verbs_store     store
verbs_tables    export, diff
verbs_model     weights, predict
verbs_about     config, sync, doctor, init
export          the store's records as the tracker's
"""

from thalweg.runner.cli.app import main

__all__ = ["main"]
