"""Looking on while a recording is read: rates and percentiles of its last seconds.

counts.py     exits or events, counted by keys: columns of few rows
keys.py       what exits are told apart by → codes, and back
window.py     the counts of the last seconds, forgotten as time goes on
snapshot.py   the window → groups with rates and percentiles
onlooker.py   what ingest tells → the window, and the moments at which it is shown
table.py      groups → the rows that are shown, sorted
plain.py      blocks of lines, for pipes and files
display.py    the live table of a terminal (rich)
keyboard.py   keys that are pressed at a terminal
own_perf.py   perf, started for a watch alone
session.py    a recording, who looks on, and what ends both
"""
