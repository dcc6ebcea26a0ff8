"""What a change may cost, said beforehand in a file, and whether it does: `kvmtrace check`.

budget_file.py   a TOML file → budgets, or the line that is wrong
metrics.py       what a metric is about: counts or times
limits.py        where an interval lies beside a limit and the least change that counts
decisions.py     budgets and two sides → decisions: counts first, then times
"""
