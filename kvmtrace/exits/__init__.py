"""Events → exits: which event is of which exit, how long each exit took, what is doubtful.

threads.py    (pid, tid) → small codes; VMs told apart
timeline.py   the narrow rows of all events, held until no earlier event can come
pairing.py    sorted rows → exits, and the exit of each event
facets.py     the events inside an exit → its detail, its time in the VMM, …
doubts.py     losses → suspect pairs
builder.py    all of it, block by block
table.py      exits → the stored columns
buckets.py    exits → latency buckets
"""
