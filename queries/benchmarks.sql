-- purpose: Figures and verdicts of benchmarks, in the order of their source.
-- requires: benchmarks
-- param run_id VARCHAR: Run to report on.
-- column suite VARCHAR: What printed the row; null: not told.
-- column test VARCHAR: Test that the row is of; null: not told.
-- column name VARCHAR: What was measured or checked, as printed.
-- column value DOUBLE: The figure; null: a verdict, or skipped.
-- column unit VARCHAR: Unit of value as given; null: not given.
-- column statistic VARCHAR: What value is of its samples: mean, total, …; null: not told.
-- column clock VARCHAR: Clock that counts the unit; null: not told.
-- column state VARCHAR: Measured, pass, fail, skip, ….
-- column message VARCHAR: What stands behind the verdict, or beside the figure.
SELECT
    suite,
    test,
    name,
    value,
    unit,
    statistic,
    clock,
    state,
    message
FROM benchmarks
WHERE run_id = $run_id
ORDER BY line ASC NULLS LAST, name ASC, statistic ASC NULLS LAST
