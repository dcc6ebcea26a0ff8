"""Models of generators/**/*.toml → synthetic recordings.

header.py           what a model says of itself: sources, variants, published figures
model.py            what an engine runs: machine, exits, workload, with their bounds
model_file.py       a TOML file → a model, or the line that is wrong
engines/            the dynamics: operation-loop, interrupts, scheduler, counters
draws.py            random integers that are the same on every machine
costs.py            a cost's min, mean, max and deviation → a bounded distribution
arrivals.py         when things happen: periodic, Poisson, bursts
event_formats.py    how a kernel lays out an event (layouts/)
machine.py          threads and CPUs, and what a recording says of its host
exit_scripts.py     exits with their events, compiled
emission.py         many exits → their events in columns
blocks.py           events of several vCPUs → blocks by time
apart.py            a generator in a process of its own
"""
