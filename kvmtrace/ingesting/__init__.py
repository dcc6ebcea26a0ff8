"""An input → runs in the store.

runs.py       one input → what it holds
storing.py    what an input or a model holds → its runs, each put in its place
intake.py     the blocks of a recording → its tables
listening.py  what may be told of a recording while it is read
account.py    what is known of a recording beside its tables → its manifest
"""

from kvmtrace.ingesting.listening import Listener
from kvmtrace.ingesting.runs import Failed, ingest
from kvmtrace.ingesting.storing import DEFAULT_JOBS, Ingested, Order, Origin, Progress, Stored, store_contents

__all__ = [
    "DEFAULT_JOBS",
    "Failed",
    "Ingested",
    "Listener",
    "Order",
    "Origin",
    "Progress",
    "Stored",
    "ingest",
    "store_contents",
]
