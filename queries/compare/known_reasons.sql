-- purpose: Exit reasons that the kernel of a recording knows, whether they occurred or not.
-- requires: symbols
-- param run_id VARCHAR: Run.
-- column reason VARCHAR: Exit reason, as the recording's own print fmt names it.
SELECT DISTINCT name AS reason
FROM symbols
WHERE run_id = $run_id AND event IN ('kvm_exit', 'kvm_guest_exit', 'kvm_s390_sie_exit')
ORDER BY reason
