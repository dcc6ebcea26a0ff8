"""docs/claims.md: what the sources claim, put to the test with their own figures.

`python -m tests.generated_claims` writes it again.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from doc_commands import ROOT

from kvmtrace.comparing.claims import Figure, claim
from kvmtrace.comparing.request import Request, answer
from kvmtrace.ingesting import ingest
from kvmtrace.report.printable import markdown
from kvmtrace.report.readable import ratio
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from kvmtrace.comparing.claims import Claimed

PAGE = ROOT / "docs" / "claims.md"
DATA = ROOT / "tests" / "data"


@dataclass(frozen=True, slots=True)
class Source:
    """Figures of a source, and what it says of them."""

    title: str
    file: str
    claims: tuple[tuple[str, str], ...]  # what is claimed, in words and as --claim


_OPT, _UPSTREAM, _CIFY = "KVM Cify+opt virt NULL hcall", "Upstream virt NULL hcall", "KVM Cify virt NULL hcall"
_WILDCARD, _PV, _PORT = "mmio-wildcard-eventfd:pci-mem", "mmio-pv-eventfd:pci-mem", "portio-wildcard-eventfd:pci-io"


def _value(name: str, other: str) -> str:
    return f'value("{name}") / value("{other}")'


SOURCES = (
    Source(
        "Guest entry/exit performance work, N. Piggin, 2021",
        "cycle-list/power9-null-hcall.txt",
        (
            ("60% the cycles required", f"{_value(_OPT, _UPSTREAM)} <= 0.605"),
            ("167% faster than upstream (2.67 times as fast)", f"{_value(_UPSTREAM, _OPT)} >= 2.67"),
            ("67% faster would be", f"{_value(_UPSTREAM, _OPT)} >= 1.66"),
            ("an order of magnitude slower than real mode", f"{_value(_OPT, 'Upstream try_real_mode return')} >= 10"),
            ("C alone is no slower than assembly", f"{_value(_CIFY, _UPSTREAM)} <= 1"),
        ),
    ),
    Source(
        "Re: [PATCH RFC] kvm: add PV MMIO EVENTFD, M. S. Tsirkin, 2013",
        "kvm-unit-tests/mmio-eventfd-2013.txt",
        (
            ("speeds up MMIO by almost 100%: 95% or more", f"{_value(_WILDCARD, _PV)} >= 1.95"),
            ("88% would be", f"{_value(_WILDCARD, _PV)} >= 1.875"),
            ("almost the same as PIO: within 2%", f"{_value(_PV, _PORT)} <= 1.02"),
        ),
    ),
    Source(
        "[PATCHv4 1/5] kvm_para: guest side for eoi avoidance, M. S. Tsirkin, 2012",
        "perf-stat/mail-pv-eoi.txt",
        (
            ("exits are almost halved: a second", "ratio(kvm_exit / seconds) <= 0.55"),
            ("an injected interrupt", "ratio(kvm_exit / kvm_inj_virq) <= 0.55"),
            (
                "without port I/O, which PV EOI cannot save",
                "ratio((kvm_exit - kvm_pio) / kvm_inj_virq) <= 0.55",
            ),
            ("a guest that takes as many interrupts", "ratio(kvm_inj_virq / seconds) <= 1.05"),
        ),
    ),
)

_HEAD = """\
# Claims of the sources

What the sources say, put to the test with the figures that they print: `kvmtrace compare BASE --against NEW --claim …`.
`make docs` writes this page. Each figure is a single one, so none has an interval: *supported* and *contradicted* say
what the printed figures are, not that another measurement would give them again.
"""


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCES:
            parts.append(f"## {source.title}\n")
            parts.append(f"Figures: [{source.file}](../tests/data/{source.file})\n")
            rows = [
                f"| {words} | `{each.claim.text}` | {_found(each)} | {each.outcome} |"
                for (words, _), each in zip(
                    source.claims, answers(source, Path(folder) / source.file.replace("/", "-")), strict=True
                )
            ]
            parts.append("\n".join(["| claimed | as a claim | found | so it is |", "|---|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _found(each: Claimed) -> str:
    of_base = " of base" if each.claim.figure is Figure.RATIO else ""
    return markdown(ratio(each.value)) + of_base


def answers(source: Source, store: Path) -> tuple[Claimed, ...]:
    """Hold a source's claims to its figures; one table of figures is both sides, two are base and new."""
    runs = [each.manifest.run_id for each in ingest(str(DATA / source.file), store, Label())]
    with StoreConnection(store) as connection:
        claims = tuple(claim(text) for _, text in source.claims)
        return answer(connection, Request((runs[0],), (runs[-1],), claims=claims)).claims


if __name__ == "__main__":
    PAGE.write_text(page())
