"""Two sides, each of one run or of many: what changed between them, by how much, and whether that is more than chance.

run_data      one run as sums by block of time; `reading` takes them from the store
terms         what can be asked of a run, as a formula of such sums; `expressions` reads one that a user wrote
sides         the runs of a side, and the estimate of a term between two sides
differences   what else differs between the sides: kernel, processor, tracepoints, losses
waterfall     which exits the change of the whole is made of
comparison    all of it together; `claims` holds it to what somebody says
"""
