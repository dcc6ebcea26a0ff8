"""Inputs that once took too long, or ended in an exception: small, made anew each time, and damaged like the others."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from trace_dat_made import FORMATS, turns
from trace_dat_pages import PageWriter

from kvmtrace.writers.trace_dat_file import BufferContent, TraceDat, _Sections

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.writers.trace_dat_file import Pages

SEPARATORS = ("|", ", ", " ", "=", "(", ": ", "a-1 ", "] [")
_TEXTS = (
    "kvm_apic_ipi: dst 0 vec 0 (",
    "kvm_apic_accept_irq: apicid 0 vec 0 (",
    "kvm_msi_set_irq: dst 0 vec 0 (",
    "kvm_exit: vcpu 0 reason ",
    "kvm_nested_vmexit: reason ",
    "kvm_page_fault: vcpu 0 ",
    "kvm_emulate_insn: 0:0:",
    "sched_switch: prev_comm=",
)
_ENTRY = "kvm_entry: vcpu 0, rip 0xffffffff81"
_MANY = 400  # separators one behind the other
_TRACES = 1100
_HEADERS = 1100  # Python calls no function 1,000 deep

_KVM_STAT_HEADING = "             VM-EXIT    Samples  Samples%     Time%    Min Time    Max Time         Avg time\n\n"
_MOST = "9" * 20
HUGE = {
    "table": "# started on Mon Jan  1 00:00:00 99999999999\n\n Performance counter stats for 'x' (999999999 runs):\n\n"
    "   18446744073709551615      kvm:kvm_exit    ( +- 999999999999999.99% )  (999.99%)\n"
    "   99999999999999999999999999999999999999      kvm:kvm_entry\n\n"
    "       999999999.999999999 +- 999999999.999999999 seconds time elapsed\n",
    "intervals": "#           time             counts unit events\n"
    "     1.000000001                      1      kvm:kvm_exit\n"
    "     999999999.999999999   18446744073709551615      kvm:kvm_exit\n",
    "csv": "1.000000001,1,,kvm:kvm_exit,1,100.00,,\n"
    "999999999.999999999,18446744073709551615,,kvm:kvm_exit,9223372036854775807,999.99,,\n"
    "999999999.999999999,1,,kvm:kvm_entry,9223372036854775807,0.01,,\n",
    "json": '{"interval" : 1.000000001, "counter-value" : "1", "event" : "kvm:kvm_exit", "pcnt-running" : 100.00}\n'
    '{"interval" : 1e308, "counter-value" : "1e308", "event" : "kvm:kvm_exit", '
    '"event-runtime" : 18446744073709551616, "pcnt-running" : 1e-308}\n'
    f'{{"counter-value" : "{_MOST}.999", "event" : "kvm:kvm_exit", "event-runtime" : {_MOST}, "variance" : 1e400}}\n',
    "kvm_stat": f"$ kvm_stat -1\nkvm_exit {_MOST} {_MOST}\nkvm_entry {_MOST} -{_MOST}\n",
    "kvm_stat screen": "kvm statistics - pid 9999999999 (x)\n\n Event          Total %Total CurAvg/s\n"
    f" kvm_exit   {_MOST} {_MOST}.9 {_MOST}\n Total   {_MOST}    {_MOST}\n",
    "kvm_stat log": f"timestamp,kvm_exit\n9999-12-31 23:59:59,{_MOST}\n0000-00-00 99:99:99,1\n",
    "debugfs": f"/sys/kernel/debug/kvm/9999999999-9999999999/vcpu999999/exits:{_MOST}\n"
    f"halt_wait_hist (log-histogram, ns): [9999]={_MOST}\n",
    "perf kvm stat": f"Analyze events for all VMs, all VCPUs:\n\n{_KVM_STAT_HEADING}"
    "           MSR_WRITE          1    50.00%    50.00%      1.00us      1.00us      1.00us ( +-   0.00% )\n"
    f"                 HLT {_MOST}   999.99%   999.99% {_MOST}.99us {_MOST}.99us {_MOST}.99us ( +- 999999999.99% )\n\n"
    f"Total Samples:{_MOST}, Total events handled time:{_MOST}.99us.\n",
    "cycles": "NULL hcall - 1234 cycles\nreal hcall - 1234 cycles\n"
    f"huge hcall - {_MOST} cycles\nyet - {_MOST * 20} cycles\n",
    "ftrace": f"# tracer: nop\n#\n# entries-in-buffer/entries-written: {_MOST}/{'9' * 30}   #P:{'9' * 10}\n"
    + "".join(
        f"            qemu-{tid} [{cpu}] d..1. {time}: {_ENTRY.replace('0,', f'{tid},')}\n"
        for tid in (1, 4194304, "9" * 11, "9" * 25)
        for cpu in ("000", "9" * 9)
        for time in ("1.000001", f"{'9' * 10}.999999", f"{'9' * 19}.999999", f"{'9' * 30}.999999")
    )
    + f"CPU:{'9' * 10} [LOST {_MOST} EVENTS]\n",
}
"""Numbers that no counter and no clock has, and some that one has barely."""


class _EmptyChunks(_Sections):
    """The sections of a trace.dat, an empty chunk before the others of each CPU."""

    def _chunks(self, content: Pages, page_bytes: int) -> Iterable[bytes]:
        del page_bytes
        empty, whole = self._packed(b""), self._packed(content[:])
        return [self._file.pack("I", 3), empty, whole, empty]


def made() -> dict[str, bytes]:
    """Return the inputs by what they are."""
    floods = {f"flood of {separator!r}": _flood(separator) for separator in SEPARATORS}
    huge = {f"huge numbers: {name}": text for name, text in HUGE.items()}
    trace = f"# tracer: nop\na-1 [000] 1.000000: {_ENTRY}\n"
    texts = {**floods, **huge, "many traces": trace * _TRACES}
    return {
        **{name: text.encode() for name, text in texts.items()},
        "chained headers": _chained_headers(),
        **{f"empty chunks: {packed}": _empty_chunks(packed) for packed in ("zlib", "zstd")},
    }


def _flood(separator: str) -> str:
    """Return a trace with many separators in the text of an event, and some before its time."""
    flood = separator * _MANY
    lines = [f"qemu-1234 [000] d..1. 12.000001: {text}{flood}" for text in _TEXTS]
    lines += [f"{separator * 60} [000] 12.000002: {_ENTRY}", f"qemu-1234 [000] d..1. 12.000003: {_ENTRY}"]
    return "\n".join(["# tracer: nop", *lines, ""])


def _chained_headers() -> bytes:
    """Return a tar of long names of long names of …, and no file."""
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    return header.tobuf(tarfile.GNU_FORMAT) * _HEADERS + bytes(1024)


def _empty_chunks(compression: str) -> bytes:
    pages = PageWriter()
    turns(pages, 5)
    file = TraceDat(FORMATS, [BufferContent({0: pages.content()})], compression=compression)
    output = io.BytesIO()
    _EmptyChunks(file, output).write()
    return output.getvalue()
