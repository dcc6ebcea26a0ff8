-- purpose: What a table of perf kvm stat says, row by row, times in ns.
-- requires: exit_summaries
-- param run_id VARCHAR: Run to report on.
-- column event_kind VARCHAR: What the rows are: vmexit, mmio, ioport, msr, hcall.
-- column reason VARCHAR: Exit reason, address, port, MSR or hypercall, as printed.
-- column detail_kind VARCHAR: What detail is; null: reason names an exit reason.
-- column detail UBIGINT: The MSR, port, address, … of the row.
-- column detail_name VARCHAR: Name of the detail, where the source gives one.
-- column direction VARCHAR: Read or write, where the row tells it.
-- column samples BIGINT: Exits of the row.
-- column samples_share DOUBLE: Part of all exits, 0 to 1, as printed.
-- column time_share DOUBLE: Part of all time, 0 to 1, as printed.
-- column min_ns DOUBLE: Shortest time, as printed.
-- column max_ns DOUBLE: Longest time, as printed.
-- column mean_ns DOUBLE: Mean time, as printed.
-- column total_ns DOUBLE: Time of all exits of the row, as printed; null: not printed.
-- column stderr_share DOUBLE: Standard error of the mean, relative to it, 0 to 1, as printed.
-- column time_is VARCHAR: Out of the guest, or in the guest; null: not told.
-- column scope VARCHAR: VMs and vCPUs that the table is of.
-- column logged_at VARCHAR: Wall clock of the table (perf kvm stat live).
SELECT
    event_kind,
    reason,
    detail_kind,
    detail,
    detail_name,
    direction,
    samples,
    samples_share,
    time_share,
    min_ns,
    max_ns,
    mean_ns,
    total_ns,
    stderr_share,
    time_is,
    scope,
    logged_at
FROM exit_summaries
WHERE run_id = $run_id
ORDER BY line ASC NULLS LAST, event_kind ASC, reason ASC, detail ASC NULLS LAST, direction ASC NULLS LAST
