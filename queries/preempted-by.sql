-- purpose: Who took the CPU from vCPU threads that could run, outside of the guest, and for how long.
-- requires: exits, sched_switch
-- field sched_switch.prev_state BIGINT: State of the thread that loses the CPU; 0 in its low byte: it could run.
-- field sched_switch.next_comm VARCHAR: Name of the thread that gets the CPU.
-- field sched_switch.next_pid BIGINT: Its id.
-- param run_id VARCHAR: Run to report on.
-- column comm VARCHAR: Name of the thread that got the CPU.
-- column tid BIGINT: Its id.
-- column vm_id VARCHAR: VM whose vCPU it runs; null: none.
-- column vcpu INTEGER: That vCPU; null: none, or several.
-- column times BIGINT: Times that it got the CPU of a vCPU thread that could run, in an exit.
-- column preempted_ns BIGINT: Time until these vCPU threads had a CPU again, whoever ran meanwhile.
-- column max_ns BIGINT: The longest of these times.
-- column preempted_share DOUBLE: Part of the time of all rows, 0 to 1.
-- column timed BIGINT: Times that these times are of: the others ended after the recording, or were not recorded.
WITH
vcpu_threads AS (
    SELECT
        tid,
        any_value(vm_id) AS vm_id,
        CASE WHEN min(vcpu) = max(vcpu) THEN any_value(vcpu) END AS vcpu
    FROM exits
    WHERE run_id = $run_id
    GROUP BY tid
),

-- Each switch away from a vCPU thread, and each to one, on the time line of that thread.
switches AS (
    SELECT
        s.ts_ns,
        s.tid AS of_tid,
        s.next_comm,
        s.next_pid,
        0 AS step,
        FALSE AS runs,
        s.exit_id IS NOT NULL AND s.prev_state & 255 = 0 AS preempted
    FROM sched_switch AS s
    WHERE s.run_id = $run_id AND s.tid IN (SELECT v.tid FROM vcpu_threads AS v)
    UNION ALL BY NAME
    SELECT
        s.ts_ns,
        s.next_pid AS of_tid,
        1 AS step,
        TRUE AS runs,
        FALSE AS preempted
    FROM sched_switch AS s
    WHERE s.run_id = $run_id AND s.next_pid IN (SELECT v.tid FROM vcpu_threads AS v)
),

stretches AS (
    SELECT
        next_comm,
        next_pid,
        preempted,
        CASE WHEN lead(runs) OVER thread THEN lead(ts_ns) OVER thread - ts_ns END AS preempted_ns
    FROM switches
    WINDOW thread AS (PARTITION BY of_tid ORDER BY ts_ns, step)
),

takers AS (
    SELECT
        next_comm AS comm,
        next_pid AS tid,
        count(*) AS times,
        try_cast(sum(preempted_ns) AS BIGINT) AS preempted_ns,
        max(preempted_ns) AS max_ns,
        count(preempted_ns) AS timed,
        round(sum(preempted_ns) / sum(sum(preempted_ns)) OVER (), 6) AS preempted_share
    FROM stretches
    WHERE preempted
    GROUP BY next_comm, next_pid
)

SELECT
    t.comm,
    t.tid,
    v.vm_id,
    v.vcpu,
    t.times,
    t.preempted_ns,
    t.max_ns,
    t.preempted_share,
    t.timed
FROM takers AS t
LEFT JOIN vcpu_threads AS v ON t.tid = v.tid
ORDER BY t.preempted_ns DESC NULLS LAST, t.times DESC, t.tid ASC, t.comm ASC
