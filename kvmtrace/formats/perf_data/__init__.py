"""perf.data, written by `perf record` to a file or a pipe: bytes → blocks of events in columns.

    abi.py           numbers of the format: record types, sample bits, features
    source.py        bytes of a file or a stream, with a digest of all of them
    attributes.py    perf_event_attr, ids → the layout of a sample
    header.py        file header and feature sections → facts of the recording
    scanner.py       bytes → the places of the records, proved to chain
    compression.py   COMPRESSED records → the records inside
    samples.py       places of samples → an EventBlock
    reader.py        all of it: a Recording

HEADER_TRACING_DATA and the fields of tracepoints are read by formats/tracing_data.py and tracepoints/records.py.
The layouts are those of include/uapi/linux/perf_event.h and tools/perf/util/{header,session,evsel}.c.
"""

from kvmtrace.formats.perf_data.reader import PerfDataRecording, recognises

__all__ = ["PerfDataRecording", "recognises"]
