-- purpose: What kvm_exit's info fields say (x86): which way I/O went and how wide, what a page fault was for, and more.
-- requires: exits, kvm_exit
-- field kvm_exit.isa UBIGINT: 1 VMX, 2 SVM.
-- field kvm_exit.exit_reason UBIGINT: Reason, its flags included.
-- field kvm_exit.info1 UBIGINT: VMX: exit qualification. SVM: EXITINFO1.
-- field kvm_exit.info2 UBIGINT: SVM: EXITINFO2.
-- param run_id VARCHAR: Run to report on.
-- param top BIGINT = 50: At most so many rows; NULL: all of them.
-- column isa VARCHAR: VMX or SVM; null: not recorded.
-- column reason VARCHAR: Exit reason.
-- column subject VARCHAR: Port, register, task's selector or offset in the APIC page; null: not told.
-- column access_kind VARCHAR: read, write, fetch; CLTS, LMSW; CALL, IRET, JMP, task gate; null: not told.
-- column size_bytes BIGINT: Bytes of one I/O access.
-- column flags VARCHAR: What else the fields say: string, rep; bits of a page fault's error; why an IPI failed.
-- column exits BIGINT: Exits.
-- column rate_per_s DOUBLE: Exits per second of the recording.
-- column avg_ns DOUBLE: Mean latency of the timed ones.
-- column max_ns BIGINT: Longest latency of them.
-- column timed BIGINT: Exits that the latency figures are of: those with a latency, without suspect ones.
WITH
recorded AS (
    SELECT
        k.info1,
        k.info2,
        e.reason,
        CASE k.isa WHEN 1 THEN 'VMX' WHEN 2 THEN 'SVM' ELSE e.isa END AS isa,
        CASE WHEN k.isa = 1 THEN k.exit_reason & 65535 ELSE k.exit_reason END AS code,
        CASE WHEN NOT e.suspect THEN e.latency_ns END AS timed_ns
    FROM kvm_exit AS k
    LEFT JOIN exits AS e ON k.run_id = e.run_id AND k.exit_id = e.exit_id
    WHERE k.run_id = $run_id
),

span AS (
    SELECT nullif(coalesce(enabled_ns, elapsed_ns), 0) / 1e9 AS recorded_s
    FROM runs
    WHERE run_id = $run_id
),

-- Intel SDM volume 3, "Basic VM-Exit Information".
vmx AS (
    SELECT
        isa,
        reason,
        timed_ns,
        CASE code
            WHEN 9 THEN format('task 0x{:x}', info1 & 65535)
            WHEN 28 THEN format('CR{}', info1 & 15)
            WHEN 29 THEN format('DR{}', info1 & 7)
            WHEN 30 THEN format('port 0x{:x}', info1 >> 16 & 65535)
            WHEN 44 THEN format('APIC 0x{:x}', info1 & 4095)
            WHEN 45 THEN format('vector 0x{:x}', info1 & 255)
            WHEN 56 THEN format('APIC 0x{:x}', info1 & 4095)
            WHEN 84 THEN format('MSR 0x{:x}', info1 & 4294967295)
            WHEN 85 THEN format('MSR 0x{:x}', info1 & 4294967295)
        END AS subject,
        CASE code
            WHEN 9 THEN list_extract(['CALL', 'IRET', 'JMP', 'task gate'], (info1 >> 30 & 3)::BIGINT + 1)
            WHEN 28 THEN list_extract(['write', 'read', 'CLTS', 'LMSW'], (info1 >> 4 & 3)::BIGINT + 1)
            WHEN 29 THEN if(info1 & 16 = 0, 'write', 'read')
            WHEN 30 THEN if(info1 & 8 = 0, 'write', 'read')
            WHEN 31 THEN 'read'
            WHEN 32 THEN 'write'
            WHEN 44 THEN list_extract(['read', 'write', 'fetch', 'event delivery'], (info1 >> 12 & 15)::BIGINT + 1)
            WHEN 48
                THEN
                    concat_ws(
                        ', ',
                        if(info1 & 1 <> 0, 'read', NULL),
                        if(info1 & 2 <> 0, 'write', NULL),
                        if(info1 & 4 <> 0, 'fetch', NULL)
                    )
            WHEN 56 THEN 'write'
            WHEN 84 THEN 'read'
            WHEN 85 THEN 'write'
        END AS access_kind,
        CASE WHEN code = 30 THEN (info1 & 7)::BIGINT + 1 END AS size_bytes,
        CASE code
            WHEN 30 THEN concat_ws(', ', if(info1 & 16 <> 0, 'string', NULL), if(info1 & 32 <> 0, 'rep', NULL))
            WHEN 48
                THEN
                    concat_ws(
                        ', ',
                        if(info1 & 56 <> 0, 'present', 'not present'),
                        if(info1 & 384 = 128, 'in page walk', NULL),
                        if(info1 & 128 = 0, 'without linear address', NULL)
                    )
        END AS flags
    FROM recorded
    WHERE isa = 'VMX' AND info1 IS NOT NULL
),

-- AMD APM volume 2, chapter 15. A task switch by CALL or by a task gate sets neither bit of EXITINFO2.
svm AS (
    SELECT
        isa,
        reason,
        timed_ns,
        CASE
            WHEN code < 32 OR code BETWEEN 144 AND 159 THEN format('CR{}', code & 15)
            WHEN code < 64 THEN format('DR{}', code & 15)
            WHEN code = 101 THEN 'CR0'
            WHEN code = 123 THEN format('port 0x{:x}', info1 >> 16 & 65535)
            WHEN code = 125 THEN format('task 0x{:x}', info1 & 65535)
            WHEN code = 1025 THEN format('vector 0x{:x}', info1 & 255)
            WHEN code = 1026 THEN format('APIC 0x{:x}', info1 & 4080)
        END AS subject,
        CASE
            WHEN code < 64 THEN if(code & 16 = 0, 'read', 'write')
            WHEN code = 101 OR code BETWEEN 143 AND 159 THEN 'write'
            WHEN code IN (78, 1024)
                THEN if(info1 & 16 <> 0, 'fetch', if(info1 & 2 <> 0, 'write', 'read'))
            WHEN code = 123 THEN if(info1 & 1 = 0, 'write', 'read')
            WHEN code = 124 THEN CASE info1 WHEN 0 THEN 'read' WHEN 1 THEN 'write' END
            WHEN code = 125 AND info2 >> 36 & 1 = 1 THEN 'IRET'
            WHEN code = 125 AND info2 >> 38 & 1 = 1 THEN 'JMP'
            WHEN code = 125 THEN 'CALL or task gate'
            WHEN code = 1026 THEN if(info1 >> 32 & 1 = 0, 'read', 'write')
        END AS access_kind,
        CASE WHEN code = 123 THEN nullif((info1 >> 4 & 7)::BIGINT, 0) END AS size_bytes,
        CASE
            WHEN code IN (78, 1024)
                THEN
                    concat_ws(
                        ', ',
                        if(info1 & 1 <> 0, 'present', 'not present'),
                        if(info1 & 4 <> 0, 'user', NULL),
                        if(info1 & 8 <> 0, 'reserved bit', NULL),
                        if(code = 1024 AND info1 >> 33 & 1 = 1, 'in page walk', NULL),
                        if(code = 1024 AND info1 >> 31 & 1 = 1, 'RMP', NULL)
                    )
            WHEN code = 123
                THEN concat_ws(', ', if(info1 & 4 <> 0, 'string', NULL), if(info1 & 8 <> 0, 'rep', NULL))
            WHEN code = 1025
                THEN
                    list_extract(
                        ['wrong type', 'target not running', 'wrong target', 'wrong backing page', 'wrong vector'],
                        (info2 >> 32)::BIGINT + 1
                    )
        END AS flags
    FROM recorded
    WHERE isa = 'SVM' AND info1 IS NOT NULL
),

untold AS (
    SELECT
        isa,
        reason,
        timed_ns,
        NULL::VARCHAR AS subject,
        NULL::VARCHAR AS access_kind,
        NULL::BIGINT AS size_bytes,
        NULL::VARCHAR AS flags
    FROM recorded
    WHERE info1 IS NULL OR coalesce(isa, '') NOT IN ('VMX', 'SVM')
),

told AS (
    SELECT * REPLACE (nullif(access_kind, '') AS access_kind, nullif(flags, '') AS flags) FROM vmx
    UNION ALL
    SELECT * REPLACE (nullif(flags, '') AS flags) FROM svm
    UNION ALL
    SELECT * FROM untold
)

SELECT
    t.isa,
    t.reason,
    t.subject,
    t.access_kind,
    t.size_bytes,
    t.flags,
    count(*) AS exits,
    round(count(*) / any_value(s.recorded_s), 3) AS rate_per_s,
    round(avg(t.timed_ns), 1) AS avg_ns,
    max(t.timed_ns) AS max_ns,
    count(t.timed_ns) AS timed
FROM told AS t
CROSS JOIN span AS s
GROUP BY t.isa, t.reason, t.subject, t.access_kind, t.size_bytes, t.flags
ORDER BY
    exits DESC,
    t.isa ASC NULLS LAST,
    t.reason ASC NULLS LAST,
    t.subject ASC NULLS LAST,
    t.access_kind ASC NULLS LAST,
    t.size_bytes ASC NULLS LAST,
    t.flags ASC NULLS LAST
LIMIT $top
