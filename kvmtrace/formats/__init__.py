"""Readers: one module or package for each input format. Bytes or text → blocks of events; nothing KVM-specific.

To add a format: a module with `recognises(head)` and a reader, and its line in `detect.py`.
"""
