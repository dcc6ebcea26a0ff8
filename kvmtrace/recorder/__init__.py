"""Recording: what a purpose needs of this machine, the program that records it, and the runs that come of it.

host_files.py   /proc and /sys of a machine, or of a made tree
purposes.py     a purpose → tracepoints and buffers
vms.py          the VMs of a machine, their vCPUs and what tells them by name
plan.py         a purpose on this machine → which events, with which filters, of whom
perf.py         a plan → perf's arguments, and perf at work on a pipe
"""
