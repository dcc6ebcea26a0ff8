"""Short texts that look like each other, and what each of them is."""

from __future__ import annotations

_EXIT = "reason hlt rip 0xffffffff81a0 info1 0x0000000000000000 info2 0x0000000000000000 intr_info 0x0 error_code 0x0"
PERF_SCRIPT = f"""\
        CPU 0/KVM  4337/4341  [001]   113.286413:            kvm:kvm_entry: vcpu 0, rip 0xffffffff81a0
        CPU 0/KVM  4337/4341  [001]   113.286420:             kvm:kvm_exit: vcpu 0 {_EXIT}
"""
FTRACE = f"""\
       CPU 0/KVM-4341    [001] d....   113.286413: kvm_entry: vcpu 0, rip 0xffffffff81a0
       CPU 0/KVM-4341    [001] .....   113.286420: kvm_exit: vcpu 0 {_EXIT}
"""
TRACE_CMD = f"""\
       CPU 0/KVM-4341  [001]   113.286413: kvm_entry:            vcpu 0, rip 0xffffffff81a0
       CPU 0/KVM-4341  [001]   113.286420: kvm_exit:             vcpu 0 {_EXIT}
"""
TRACE_CMD_OF_SCHED = """\
cpus=2
          <idle>-0     [001]   113.286413: sched_switch:         swapper/1:0 [120] R ==> bash:4341 [120]
            bash-4341  [001]   113.286420: sched_wakeup:         kworker/1:22 [120] CPU:001
"""
PERF_STAT = """\
 Performance counter stats for 'sleep 1':

            47,357      kvm:kvm_entry
            49,849      kvm:kvm_exit

       1.002100578 seconds time elapsed
"""
KVM_STAT_SCREEN = """\
kvm statistics - summary

 Event                                         Total %Total CurAvg/s
 kvm_entry                                     47357   48.7     2367
 kvm_exit                                      49849   51.3     2492
 Total                                         97206            4859
"""
PERF_KVM_STAT = """\
Analyze events for all VMs, all VCPUs:

             VM-EXIT    Samples  Samples%     Time%    Min Time    Max Time         Avg time

                 hlt       1070    52.86%    99.51%      1.20us  10042.42us   3981.08us ( +-   1.51% )
                 msr        954    47.14%     0.49%      0.53us    152.77us     21.86us ( +-   0.49% )

Total Samples:2024, Total events handled time:4280614.51us.
"""
PERF_STAT_CSV = "47357,,kvm:kvm_entry,1002000000,100.00,,\n49849,,kvm:kvm_exit,1002000000,100.00,,\n"
PERF_STAT_JSON = (
    '{"counter-value" : "47357.000000", "unit" : "", "event" : "kvm:kvm_entry", '
    '"event-runtime" : 1002000000, "pcnt-running" : 100.00}\n'
)
KVM_STAT_CSV = "timestamp,kvm_entry,kvm_exit\n2024-01-02 10:11:12,10,20\n2024-01-02 10:11:13,11,21\n"
KVM_STAT_ONCE = """\
kvm_entry                                      47357      2367
kvm_exit                                       49849      2492
kvm_hv_timer_state                                 0         0
"""
_STATISTICS = ("exits", "halt_exits", "4337-11/exits", "4337-11/vcpu0/guest_mode")
DEBUGFS = "".join(f"/sys/kernel/debug/kvm/{name}:120\n" for name in _STATISTICS)
VMEXIT = "enabling apic\npaging enabled\ncr0 = 80010011\ncpuid 2189\nvmcall 1934\ninl_from_pmtimer 9852\n"
CYCLES = "* Upstream virt NULL hcall - 9587 cycles\n* KVM Cify virt NULL hcall - 9333 cycles\n"

KNOWN = {
    "perf script": (PERF_SCRIPT, "perf-script"),
    "perf script without process": (PERF_SCRIPT.replace("4337/", ""), "perf-script"),
    "perf script of events only": ("kvm:kvm_entry: vcpu 0, rip 0xffffffff81a0\n" * 2, "perf-script"),
    "tracefs without header": (FTRACE, "ftrace"),
    "tracefs": ("# tracer: nop\n#\n" + FTRACE, "ftrace"),
    "trace-cmd": (TRACE_CMD, "trace-cmd-report"),
    "trace-cmd with its header": ("cpus=2\n" + FTRACE, "trace-cmd-report"),
    "trace-cmd without KVM": (TRACE_CMD_OF_SCHED, "trace-cmd-report"),
    "perf stat": (PERF_STAT, "perf-stat"),
    "perf stat -x": (PERF_STAT_CSV, "perf-stat"),
    "perf stat -j": (PERF_STAT_JSON, "perf-stat"),
    "kvm_stat": (KVM_STAT_SCREEN, "kvm-stat"),
    "kvm_stat -1": (KVM_STAT_ONCE, "kvm-stat"),
    "kvm_stat -L -c": (KVM_STAT_CSV, "kvm-stat"),
    "debugfs": (DEBUGFS, "kvm-debugfs"),
    "debugfs from inside": (DEBUGFS.replace("/sys/kernel/debug/kvm/", ""), "kvm-debugfs"),
    "perf kvm stat": (PERF_KVM_STAT, "perf-kvm-stat"),
    "kvm-unit-tests' vmexit": (VMEXIT, "kvm-unit-tests"),
    "kvm-unit-tests' verdicts": ("PASS: hypercall: ok\nFAIL: apic: id\nSUMMARY: 2 tests\n", "kvm-unit-tests"),
    "a list of cycles": (CYCLES, "cycle-list"),
}
"""What a text is → the text, its format."""

FOREIGN = {
    "blanks": " \n\t\n   \r\n\n",
    "comments": "# perf stat -e 'kvm:*'\n# kvm_exit\n#\n",
    "an empty perf stat -o": "# started on Mon Jan  2 10:11:12 2024\n\n",
    "CSV": "time,host,value\n2024-01-02 10:11:12,10,20\n2024-01-02 10:11:13,11,21\n",
    "CSV in the order of perf stat": "12345,,apples,100,50.0\n2,,pears,100,50\n",
    "CSV of numbers": "1,2,3\n4,5,6\n",
    "JSON lines": '{"event": "kvm_exit", "count": 12, "unit": ""}\n{"event": "kvm_entry", "count": 12}\n',
    "words and numbers": "apples 12\npears 13\nplums 20\n",
    "/proc/vmstat": "nr_free_pages 12345\nnr_zone_inactive_anon 12\npgfault 1234567\n",
    "YAML": "kvm_exit: 12\nkvm_entry: 13\nexits: 14\n",
    "grep -r of other files": "/etc/passwd:12\n/sys/block/sda/size:1000\nsrc/main.c:20\n",
    "prose with numbers": (
        "We ran 3 tests on 4 machines.\nThe cpuid exit took 2189 cycles, the vmcall 1934 - about 10 cycles less.\n"
        "version 5\nattempts 12\n"
    ),
    "C source": (
        "#include <linux/kvm_host.h>\n/* As in Performance counter stats for kvm: see perf stat -e kvm:kvm_exit */\n"
        'TRACE_EVENT(kvm_exit,\n\tTP_printk("vcpu %u reason %s%s%s rip 0x%lx", __entry->vcpu_id)\n);\n'
        'fprintf(output, " Performance counter stats for ");\nstatic int kvm_exit = 0; /* 509 cycles */\n'
    ),
    "a patch": (
        "Subject: [PATCH] KVM: x86: trace kvm:kvm_exit: with reasons\n\n"
        "kvm:kvm_exit and kvm:kvm_entry come in pairs.\nThis saves 200 cycles of 1500 cycles.\n---\n"
        " arch/x86/kvm/trace.h | 5 +++--\n arch/x86/kvm/x86.c | 75 ++++++++++++++++++---\n"
        ' 2 files changed, 98 insertions(+), 9 deletions(-)\n\n@@ -1,3 +1,4 @@\n+\tTP_printk("vcpu %u", 1)\n'
        "-kvm_exit 12\n+kvm_exit 13\n"
    ),
    "a README": (
        "# Figures\n\n`perf stat` prints ` Performance counter stats for 'sleep 1':`, `perf kvm stat report`\n"
        "a table of each VM-EXIT.\n\n- kvm_entry: before the guest runs\n- kvm:kvm_exit: the tracepoint\n"
    ),
    "HTML": "<html><head><title>kvm:kvm_exit: perf stat</title></head><p>Performance counter stats for</p></html>\n",
    "dmesg": (
        "[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP\n"
        "[    0.240000] kvm: Nested Virtualization enabled\n"
        "[    1.500000] kvm [4341]: vcpu0, guest rIP: 0xffffffff81a0 vmx_set_msr: BTF|LBR in IA32_DEBUGCTLMSR 0x1\n"
    ),
    "syslog": (
        "Jan  2 10:11:12 host kernel: kvm: Nested Virtualization enabled\n"
        "Jan  2 10:11:13 host qemu-system-x86[4341]: kvm_exit: 12\n"
    ),
    "/proc/interrupts": "           CPU0       CPU1\nLOC:      12345      12346   Local timer interrupts\n",
    "perf script of cycles": "     bash  4341 [001]   113.286413:   cycles:  ffffffff81a0 write_msr+0x4 ([kernel])\n",
    "perf evlist": "kvm:kvm_entry\nkvm:kvm_exit\n",
    "perf evlist -v": "kvm:kvm_entry: type: 2, size: 128, config: 0x49, { sample_period, sample_freq }: 1\n",
    "perf evlist -F": "kvm:kvm_entry: sample_freq=1\n",
    "perf evlist --trace-fields": "kvm:kvm_entry: trace_fields: vcpu_id,rip\n",
    "perf list": "  kvm:kvm_ack_irq                                    [Tracepoint event]\n",
    "perf report": "# Samples: 12  of event 'kvm:kvm_exit'\n    98.00%  qemu-system-x86  [kernel]   [k] kvm_exit\n",
    "bpftrace": "Attaching 1 probe...\n\n@[kvm_exit]: 12\n@exits[1]: 20\n",
    "strace": "4341  10:11:12.123456 ioctl(12, KVM_RUN, 0) = 0 <0.000012>\n",
    "gdb": "#0  kvm_exit () at x86.c:12\n#1  0x00 in main () at m.c:1\n",
}
"""Texts that are of no format."""
