"""What exits are told apart by, and what those of one group have in common."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class By(StrEnum):
    """What exits are told apart by."""

    REASON = "reason"
    DETAIL = "detail"
    VCPU = "vcpu"
    VM = "vm"
    CPU = "cpu"


class Key(NamedTuple):
    """What the exits of a group have in common; None: not asked for, or not recorded."""

    reason: str | None = None
    detail_kind: str | None = None
    detail: int | None = None
    detail_name: str | None = None
    detail_capped: bool = False  # details that were too many to keep apart
    vm_id: str | None = None
    vcpu: int | None = None
    cpu: int | None = None
