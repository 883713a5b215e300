"""The store: one SQLite file that holds every study, trial and observation, and the only door to sqlite3.

It knows neither torch nor hydra, and imports numpy only where a series is packed or unpacked.

    store           opened, asked, written to, closed
    place           where it is
    reading         every question, in SQL
    configs         configurations read so that a study's share what they have in common
    writing         every change, in SQL
    series          a series as compressed blobs
    schema          ordered migrations
    connection      how the file is opened
    checking        whether it holds what it should, in SQL
    keeping         removing, renaming, tags and notes, in SQL
    merging         one store taken into another, in SQL
    claims          which of several drivers trains what, in SQL
    lock            who writes: many, or one alone
"""

from thalweg.runner.store.store import Store

__all__ = ["Store"]
