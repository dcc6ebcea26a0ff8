"""The version of kvmtrace. It stands apart from the package's root, which every layer would drag in with it."""

__version__ = "0.1.0"
