"""An input → runs in the store.

runs.py       one input → its runs, each put in its place
ahead.py      blocks are read while those before them are taken
intake.py     the blocks of a recording → its tables
account.py    what is known of a recording beside its tables → its manifest
"""

from kvmtrace.ingest.runs import DEFAULT_JOBS, Failed, Ingested, Progress, Stored, ingest

__all__ = ["DEFAULT_JOBS", "Failed", "Ingested", "Progress", "Stored", "ingest"]
