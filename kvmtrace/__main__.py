"""`python -m kvmtrace` is the `kvmtrace` program."""

from kvmtrace.cli import main

main()
