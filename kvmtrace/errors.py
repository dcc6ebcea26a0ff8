"""What can go wrong, and the exit code of each.

    KvmtraceError                 never raised itself
    ├── UsageError            2   a name, option or statement that the user must change
    ├── InputError            3   a file that cannot be read as a recording: names file and place
    │   └── UnknownFormatError    none of the formats that are read
    ├── StoreError            3   the store cannot be read or written
    ├── RecordingError        3   this machine cannot be recorded as asked: a right or a program is missing
    ├── CheckFailedError      1   the work was done and a check that was asked for failed
    └── UndecidedError        4   the work was done and what was recorded does not decide a check

Trouble inside a recording that leaves the rest readable is no exception but a `recording.Note`.
Anything else is a bug and keeps its traceback.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the `kvmtrace` program."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    BAD_INPUT = 3
    UNDECIDED = 4
    INTERRUPTED = 130


class KvmtraceError(Exception):
    """An error with one plain line that says what is wrong, and a hint that says what to do."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(KvmtraceError):
    """The command, a name in it or an SQL statement must be changed by the user."""

    exit_code = ExitCode.USAGE


class InputError(KvmtraceError):
    """A file is not a readable recording.

    `where` is a byte offset or a line of `file`; the message says what was expected and what was found.
    """

    def __init__(self, file: str, message: str, *, where: int | None = None, hint: str | None = None) -> None:
        place = file if where is None else f"{file}:{where}"
        super().__init__(f"{place}: {message}", hint=hint)


class UnknownFormatError(InputError):
    """A file holds none of the formats that are read: in an archive it is passed over."""


class StoreError(KvmtraceError):
    """The store cannot be read or written."""


class RecordingError(KvmtraceError):
    """This machine cannot be recorded as asked: a right, a program or the tracepoints are missing."""


class CheckFailedError(KvmtraceError):
    """A check that the user asked for failed."""

    exit_code = ExitCode.CHECK_FAILED


class UndecidedError(KvmtraceError):
    """What was recorded does not decide a check that the user asked for."""

    exit_code = ExitCode.UNDECIDED
