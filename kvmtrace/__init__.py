"""kvmtrace: answers from recordings of KVM events."""

__version__ = "0.1.0"
