"""The `kvmtrace` program, also as `python -m kvmtrace`."""

from __future__ import annotations

import gc

_OBJECTS = 50_000


def main() -> None:
    """Run the program, and end the process with its exit code."""
    # Modules are made of objects that stay: to look through them for garbage takes a tenth of the start.
    gc.set_threshold(_OBJECTS)
    from kvmtrace.cli import main as run  # noqa: PLC0415 - what is imported here is what makes the objects

    run()


if __name__ == "__main__":
    main()
