r"""The prompt of `kvmtrace sql` on a terminal.

session.py      reads statements and says what came of them, until the user leaves
statements.py   where a statement ends, and which tables it names
backslash.py    \d, \queries, \run and the others
completion.py   names of tables, columns, queries and runs, and words of SQL
pager.py        what is longer or wider than the screen goes to the user's pager
history.py      what was typed, kept for the next time
"""
