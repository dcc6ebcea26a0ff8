"""The Python library: what `kvmtrace.…` gives, and what the commands are thin faces of.

store.py        a store and its tables, as polars has them
kept.py         the connections of a store that is kept, one for each thread
scans.py        a table of runs → polars.LazyFrame over its files
filters.py      exits with given values alone
frames.py       what a statement gave → polars.DataFrame
actions.py      functions on recordings, runs and models
shown.py        what results have in common: text, Markdown and HTML of themselves, figures
reports.py, comparison.py, check.py, whatif.py   the results
"""
