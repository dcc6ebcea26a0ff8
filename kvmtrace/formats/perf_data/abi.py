"""Numbers of the perf.data format."""

from enum import IntEnum, IntFlag

MAGIC = b"PERFILE2"
MAGIC_SWAPPED = b"2ELIFREP"
MAGIC_V1 = b"PERFFILE"
FILE_HEADER_SIZE = 104  # struct perf_file_header
PIPE_HEADER_SIZE = 16  # struct perf_pipe_file_header
RECORD_HEADER_SIZE = 8  # struct perf_event_header
TYPE_TRACEPOINT = 2  # perf_event_attr.type
MAX_ATTRIBUTES = 1 << 16  # events of a recording that are believed


class RecordType(IntEnum):
    """perf_event_header.type: kernel records from 1, perf's own from 64; names as `perf report --stats` prints them."""

    MMAP = 1
    LOST = 2
    COMM = 3
    EXIT = 4
    THROTTLE = 5
    UNTHROTTLE = 6
    FORK = 7
    READ = 8
    SAMPLE = 9
    MMAP2 = 10
    AUX = 11
    ITRACE_START = 12
    LOST_SAMPLES = 13
    SWITCH = 14
    SWITCH_CPU_WIDE = 15
    NAMESPACES = 16
    KSYMBOL = 17
    BPF_EVENT = 18
    CGROUP = 19
    TEXT_POKE = 20
    AUX_OUTPUT_HW_ID = 21
    CALLCHAIN_DEFERRED = 22
    ATTR = 64
    EVENT_TYPE = 65
    TRACING_DATA = 66
    BUILD_ID = 67
    FINISHED_ROUND = 68
    ID_INDEX = 69
    AUXTRACE_INFO = 70
    AUXTRACE = 71
    AUXTRACE_ERROR = 72
    THREAD_MAP = 73
    CPU_MAP = 74
    STAT_CONFIG = 75
    STAT = 76
    STAT_ROUND = 77
    EVENT_UPDATE = 78
    TIME_CONV = 79
    FEATURE = 80
    COMPRESSED = 81
    FINISHED_INIT = 82
    COMPRESSED2 = 83
    BPF_METADATA = 84


LAST_RECORD_TYPE = 127
"""Types beyond are not of this format: the bytes are damaged."""


class Sample(IntFlag):
    """PERF_SAMPLE_* bits of perf_event_attr.sample_type."""

    IP = 1 << 0
    TID = 1 << 1
    TIME = 1 << 2
    ADDR = 1 << 3
    READ = 1 << 4
    CALLCHAIN = 1 << 5
    ID = 1 << 6
    CPU = 1 << 7
    PERIOD = 1 << 8
    STREAM_ID = 1 << 9
    RAW = 1 << 10
    BRANCH_STACK = 1 << 11
    REGS_USER = 1 << 12
    STACK_USER = 1 << 13
    WEIGHT = 1 << 14
    DATA_SRC = 1 << 15
    IDENTIFIER = 1 << 16
    TRANSACTION = 1 << 17
    REGS_INTR = 1 << 18
    PHYS_ADDR = 1 << 19
    AUX = 1 << 20
    CGROUP = 1 << 21
    DATA_PAGE_SIZE = 1 << 22
    CODE_PAGE_SIZE = 1 << 23
    WEIGHT_STRUCT = 1 << 24


class Read(IntFlag):
    """PERF_FORMAT_* bits of perf_event_attr.read_format."""

    TOTAL_TIME_ENABLED = 1 << 0
    TOTAL_TIME_RUNNING = 1 << 1
    ID = 1 << 2
    GROUP = 1 << 3
    LOST = 1 << 4


class AttrFlag(IntFlag):
    """Bits of the flags word of perf_event_attr, as numbered on a little-endian machine."""

    FREQ = 1 << 10
    SAMPLE_ID_ALL = 1 << 18
    USE_CLOCKID = 1 << 25


class Feature(IntEnum):
    """HEADER_* feature bits (tools/perf/util/header.h)."""

    TRACING_DATA = 1
    HOSTNAME = 3
    OSRELEASE = 4
    VERSION = 5
    ARCH = 6
    NRCPUS = 7
    CPUDESC = 8
    CPUID = 9
    TOTAL_MEM = 10
    CMDLINE = 11
    EVENT_DESC = 12
    SAMPLE_TIME = 21
    CLOCKID = 23
    DIR_FORMAT = 24
    COMPRESSED = 27
    CLOCK_DATA = 29


FEATURE_BITS = 256

CLOCK_NAMES = {
    0: "CLOCK_REALTIME",
    1: "CLOCK_MONOTONIC",
    4: "CLOCK_MONOTONIC_RAW",
    7: "CLOCK_BOOTTIME",
    11: "CLOCK_TAI",
}
"""perf_event_attr.clockid."""
