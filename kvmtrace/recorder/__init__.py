"""Recording: what a purpose needs of this machine, the program that records it, and the runs that come of it.

host_files.py   /proc and /sys of a machine, or of a made tree
purposes.py     a purpose → tracepoints and buffers
vms.py          the VMs of a machine, their vCPUs and what tells them by name
plan.py         a purpose on this machine → which events, with which filters, of whom
rights.py       what is missing, before anything is started
program.py      a program that records, while it is at work
perf.py         a plan → perf's arguments, and perf at work on a pipe
trace_cmd.py    a plan → trace-cmd's arguments, and trace-cmd at work
session.py      one recording, with the command that it is of → a run
series.py       recordings of one command, or of two in turn, and what they are called
environment.py  the host's settings
witness.py      the host's settings and VMs, as they were meanwhile → the manifest
shortfall.py    what a recording lacks, why, and what to change
"""
