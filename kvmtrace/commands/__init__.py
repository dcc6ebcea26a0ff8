"""The commands of the `kvmtrace` program: one module each, no logic of their own.

Heavy libraries are imported inside the command functions, so that `kvmtrace --help` stays quick.
"""
