"""What exits are told apart by → small codes, and back: equal keys have one code, whatever codes the builder has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from kvmtrace.exit_keys import By, Key
from kvmtrace.exits.buckets import from_0
from kvmtrace.exits.detail_codes import Detail, DetailCodes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.exits.builder import ExitBuilder, Exits

_BITS = 32
_MASK = (1 << _BITS) - 1
Named = TypeVar("Named")


class ExitKeys:
    """Codes of reason, detail, VM, vCPU and CPU of one recording's exits; 0 of what is not asked for."""

    COLUMNS = 5

    def __init__(self, by: tuple[By, ...], builder: ExitBuilder) -> None:
        self._asked = frozenset(by)
        self._builder = builder
        self._details = DetailCodes(builder.architecture)
        self._reason_names = _Codes[str | None]()
        self._told_details = _Codes[Detail]()
        self._detail_code: dict[int, int] = {}  # by reason and the builder's code

    def columns(self, exits: Exits) -> tuple[NDArray[np.int64], ...]:
        """Return the codes of exits."""
        nothing = np.zeros(len(exits), np.int64)
        return (
            self._reasons(exits) if By.REASON in self._asked else nothing,
            self._exit_details(exits) if By.DETAIL in self._asked else nothing,
            exits.vm.astype(np.int64) if By.VM in self._asked else nothing,
            from_0(exits.vcpu) if By.VCPU in self._asked else nothing,
            from_0(exits.cpu) if By.CPU in self._asked else nothing,
        )

    def key(self, codes: tuple[int, ...]) -> Key:
        """Return what the codes of a group stand for."""
        reason, detail, vm, vcpu, cpu = codes
        told = self._told_details.named[detail] if By.DETAIL in self._asked else None
        return Key(
            reason=self._reason_names.named[reason] if By.REASON in self._asked else None,
            detail_kind=told.kind if told else None,
            detail=told.value if told else None,
            detail_name=told.name if told else None,
            detail_capped=bool(told and told.capped),
            vm_id=self._builder.vms.names[vm] if By.VM in self._asked else None,
            vcpu=vcpu - 1 if vcpu else None,
            cpu=cpu - 1 if cpu else None,
        )

    def _reasons(self, exits: Exits) -> NDArray[np.int64]:
        codes = [self._reason_names.code(meaning.name) for meaning in self._builder.reasons.meanings]
        return np.array(codes, np.int64)[exits.reason]

    def _exit_details(self, exits: Exits) -> NDArray[np.int64]:
        """Return codes of details: what a recorded value means depends on the reason."""
        both, row = np.unique(exits.reason.astype(np.int64) << _BITS | self._details.codes(exits), return_inverse=True)
        for code in both.tolist():
            if code not in self._detail_code:
                told = self._details.told(self._builder.reasons.meanings[code >> _BITS], code & _MASK)
                self._detail_code[code] = self._told_details.code(told)
        return np.array([self._detail_code[code] for code in both.tolist()], np.int64)[row]


class _Codes(Generic[Named]):
    """Codes 0, 1, … of what came so far."""

    def __init__(self) -> None:
        self._codes: dict[Named, int] = {}
        self.named: list[Named] = []  # by code

    def code(self, named: Named) -> int:
        if named not in self._codes:
            self._codes[named] = len(self.named)
            self.named.append(named)
        return self._codes[named]
