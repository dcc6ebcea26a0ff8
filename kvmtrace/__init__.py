"""kvmtrace: answers from recordings of KVM events.

The Python library is what `__all__` lists; docs/library.md describes it. Nothing of it is loaded before it is asked
for, so that `import kvmtrace`, which every other import of the package brings with it, costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from kvmtrace.version import __version__

TYPE_CHECKING = False
"""What type checkers take for true. Of typing, which takes longer to load than all the rest, nothing else is needed."""

if TYPE_CHECKING:
    from kvmtrace import errors
    from kvmtrace.api.actions import check, compare, generate, ingest, whatif
    from kvmtrace.api.check import CheckResult
    from kvmtrace.api.comparison import ComparisonResult
    from kvmtrace.api.reports import Report
    from kvmtrace.api.store import Store, open_store
    from kvmtrace.api.whatif import WhatIfResult
    from kvmtrace.errors import KvmtraceError
    from kvmtrace.ingest import Ingested

__all__ = [
    "CheckResult",
    "ComparisonResult",
    "Ingested",
    "KvmtraceError",
    "Report",
    "Store",
    "WhatIfResult",
    "__version__",
    "check",
    "compare",
    "errors",
    "generate",
    "ingest",
    "open_store",
    "whatif",
]

_HOMES = {
    "CheckResult": "api.check",
    "ComparisonResult": "api.comparison",
    "Ingested": "ingest",
    "KvmtraceError": "errors",
    "Report": "api.reports",
    "Store": "api.store",
    "WhatIfResult": "api.whatif",
    "check": "api.actions",
    "generate": "api.actions",
    "open_store": "api.store",
}
"""Name of the library → the module of the package that has it."""


if not TYPE_CHECKING:  # it would have every name for a type checker

    def __getattr__(name: str) -> object:
        if name == "errors":
            return importlib.import_module("kvmtrace.errors")
        if name not in _HOMES:
            raise AttributeError(f"module 'kvmtrace' has no attribute {name!r}")
        return _from_home(name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _from_home(name: str) -> object:
    return getattr(importlib.import_module(f"kvmtrace.{_HOMES.get(name, 'api.actions')}"), name)


class _Library(ModuleType):
    """The package itself. Three functions of the library bear the names of packages in it.

    Whoever imports such a package has Python make it an attribute of this one, in place of the function. A property
    stands above attributes: `kvmtrace.compare` is the function, whatever was imported before, and
    `from kvmtrace.compare import …` finds the package in sys.modules as ever.
    """

    @property
    def compare(self) -> object:
        return _from_home("compare")

    @compare.setter
    def compare(self, package: ModuleType) -> None:
        """Leave the package where `import` finds it."""

    @property
    def ingest(self) -> object:
        return _from_home("ingest")

    @ingest.setter
    def ingest(self, package: ModuleType) -> None:
        """Leave the package where `import` finds it."""

    @property
    def whatif(self) -> object:
        return _from_home("whatif")

    @whatif.setter
    def whatif(self, package: ModuleType) -> None:
        """Leave the package where `import` finds it."""


sys.modules[__name__].__class__ = _Library
