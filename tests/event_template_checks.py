"""The templates of events' texts as their syntax says, and texts of recordings: plain, slow, without the engine.

A template is turned into one regular expression; the names of a table are all its alternatives.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

from perf_oracle import SHARED

from kvmtrace.arch.x86_exit_info import REASONS, SVM, VMX
from kvmtrace.formats.event_text import kvm_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Parsed = dict[str, int | str]

CAPTURES = SHARED / "captures"
EXIT_TABLE = "x86_exit"
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([\w,]*):(?:flag\((.*?)\)|(\w+))\}|[{}]")
_DECIMAL = {f"{sign}{bits}" for sign in "us" for bits in (8, 16, 32, 64)}
_HEXADECIMAL = {f"x{bits}" for bits in (8, 16, 32, 64)}
PLAIN_KINDS = {*_DECIMAL, *_HEXADECIMAL, "text", "word", "bool", "flag"}
_PATTERNS = {
    **dict.fromkeys(_DECIMAL, r" *(-?\d+)"),
    **dict.fromkeys(_HEXADECIMAL, " *([0-9a-fA-F]+)"),
    "bool": "([01])",
    "text": "(.*?)",
    "word": r"(\S*?)",
}
_FAILED_VMENTRY = 1 << 31
_UNNAMED = ("0x[0-9a-fA-F]+(?: FAILED_VMENTRY)?", r"UNKNOWN \(\d+\)")  # the kernel's way and the plugin's


@cache
def table(name: str) -> Mapping[str, tuple[int, ...]]:
    """Return a table of names. KeyError: there is none."""
    return _exit_reasons() if name == EXIT_TABLE else kvm_names.TABLES[name]


def _exit_reasons() -> dict[str, tuple[int, ...]]:
    """Return names of the kernel and of libtraceevent's plugin → (exit_reason, isa), VMX's with its flag too."""
    reasons: dict[str, tuple[int, ...]] = {name: (code, 2) for code, name in REASONS[SVM].items()}
    for name, (code, isa) in list(reasons.items()):
        vector = name.removesuffix(" excp")
        reasons[f"EXIT_EXCP_{vector}" if vector != name else f"EXIT_{name.upper()}"] = (code, isa)
    reasons |= {
        "EXIT_INTR": (0x60, 2),
        "EXIT_IOIO": (0x7B, 2),
        "EXIT_VMMCALL": (0x81, 2),
        "EXIT_CR0_SEL_WRITE": (0x65, 2),
    }
    vmx = {name: code for code, name in REASONS[VMX].items()} | {"PENDING_INTERRUPT": 7}
    reasons |= {name: (code, 1) for name, code in vmx.items()}
    return reasons | {f"{name} FAILED_VMENTRY": (code | _FAILED_VMENTRY, 1) for name, code in vmx.items()}


@dataclass(frozen=True)
class Placeholder:
    """One place of a template: a literal where `kind` is empty."""

    fields: tuple[str, ...]
    kind: str
    literal: str = ""

    @property
    def is_table(self) -> bool:
        return bool(self.kind) and self.kind not in PLAIN_KINDS

    def pattern(self) -> str:
        """Return a regular expression with one group."""
        if not self.is_table:
            return _PATTERNS.get(self.kind, f"((?:{re.escape(self.literal)})?)")
        names = map(re.escape, sorted(table(self.kind), key=len, reverse=True))
        return f"({'|'.join([*names, *_UNNAMED])})"

    def values(self, text: str) -> Parsed:
        """Return the value of each field; one that a number without a name leaves open is left out."""
        if not self.fields:
            return {}
        if self.is_table:
            return self._named(text)
        (name,) = self.fields
        if self.kind == "flag":
            return {name: int(text == self.literal)}
        if self.kind in ("text", "word"):
            return {name: text}
        return {name: int(text, 16 if self.kind in _HEXADECIMAL else 10)}

    def _named(self, text: str) -> Parsed:
        if text in table(self.kind):
            return dict(zip(self.fields, table(self.kind)[text], strict=True))
        number, flag, _ = text.partition(" FAILED_VMENTRY")
        if flag:  # only VMX has flags
            return dict(zip(self.fields, (int(number, 16) | _FAILED_VMENTRY, 1), strict=True))
        number = text.removeprefix("UNKNOWN (").rstrip(")")
        return {self.fields[0]: int(number, 16 if number.startswith("0x") else 10)}


@dataclass(frozen=True)
class Template:
    """One line of templates/*.txt."""

    place: str
    system: str
    event: str
    body: str

    @cached_property
    def parts(self) -> tuple[Placeholder, ...]:
        """Return literals and placeholders in order. ValueError: a brace that is none of either."""
        parts: list[Placeholder] = []
        end = 0
        for match in _PLACEHOLDER.finditer(self.body):
            parts.append(Placeholder((), "", self.body[end : match.start()]))
            end = match.end()
            if match[0] in ("{{", "}}"):
                parts.append(Placeholder((), "", match[0][0]))
            elif match[0] in ("{", "}"):
                raise ValueError(f"{self.place}: expected a placeholder, found {match[0]!r}")
            else:
                fields = tuple(name for name in match[1].split(",") if name)
                parts.append(Placeholder(fields, match[3] or "flag", match[2] or ""))
        return (*parts, Placeholder((), "", self.body[end:]))

    @cached_property
    def loose(self) -> re.Pattern[str]:
        """Return `regex` with anything in the place of names, texts and flags."""
        anything = {"text", "word", "flag"}
        patterns = (
            re.escape(part.literal)
            if not part.kind
            else ".*?"
            if part.is_table or part.kind in anything
            else part.pattern()
            for part in self.parts
        )
        return re.compile("".join(patterns), re.DOTALL)

    @property
    def placeholders(self) -> list[Placeholder]:
        return [part for part in self.parts if part.kind]

    @property
    def fields(self) -> list[str]:
        """Return the names of what is stored, in order."""
        return [name for part in self.placeholders for name in part.fields]

    @property
    def types(self) -> dict[str, str]:
        """Return the type of each field that is stored."""
        types: dict[str, str] = {}
        for part in self.placeholders:
            kinds = kvm_names.TYPES.get(part.kind, ("u32",) * len(part.fields)) if part.is_table else (part.kind,)
            types.update(zip(part.fields, (kind.replace("x", "u") for kind in kinds), strict=False))
        return types

    @cached_property
    def regex(self) -> re.Pattern[str]:
        patterns = (part.pattern() if part.kind else re.escape(part.literal) for part in self.parts)
        return re.compile("".join(patterns), re.DOTALL)

    def parse(self, text: str) -> Parsed | None:
        """Return the fields of a text, None where it is not of this template."""
        match = self.regex.fullmatch(text)
        if match is None:
            return None
        parsed: Parsed = {}
        for part, found in zip(self.placeholders, match.groups(), strict=True):
            parsed |= part.values(found)
        return parsed


def templates() -> list[Template]:
    """Return every template, file by file in the order of their names."""
    found = []
    for path in sorted(Path(kvm_names.__file__).with_name("templates").glob("*.txt")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if line and not line.startswith("#"):
                head, _, body = line.partition("  ")
                system, _, event = head.partition(":")
                found.append(Template(f"{path.name}:{number}", system, event, body))
    return found


class Reader:
    """Texts → fields, by the first variant that fits; what the texts have around their fields is stripped."""

    def __init__(self, all_templates: Iterable[Template]) -> None:
        self.by_event: dict[str, list[Template]] = {}
        for template in all_templates:
            self.by_event.setdefault(template.event, []).append(template)

    def variants(self, event: str) -> list[Template]:
        """Return the variants of "system:event" or, without a system, of every system's event of that name."""
        system, _, name = event.rpartition(":")
        return [template for template in self.by_event.get(name, []) if system in ("", template.system)]

    def first(self, event: str, text: str) -> tuple[Template, Parsed] | None:
        """Return the first variant that fits, and the fields."""
        for template in self.variants(event):
            parsed = template.parse(text.strip(" \n"))
            if parsed is not None:
                return template, parsed
        return None


# What stands before an event's text: a time, a colon, perhaps a period, blanks; nothing where the context is left out.
_EVENT_LINE = re.compile(
    r"(?:(?:^|.*?[\s\]])(?:\d+\.\d+|\d{9,}|\d+us.?):\s+(?:\d+ +)?)?((?:[\w-]+:)?[a-z_]\w*):(?: (.*)|$)", re.DOTALL
)
_TEXTS = ("perf-script*.txt*", "*.perf-script*.txt*", "*-perf-script*.txt*", "trace-cmd-report*.txt*", "*.report.txt*")
_NO_TRACES = ("raw", "script-D")


def capture_texts() -> list[Path]:
    """Return the texts of events in the captures, none where these are not there."""
    found = {path for pattern in _TEXTS for path in CAPTURES.rglob(pattern)}
    found |= {path for folder in CAPTURES.rglob("raw-*trace*") for path in folder.glob("trace*.txt*")}
    found -= {path for path in found if any(word in path.name for word in _NO_TRACES) or "clock" in path.name}
    return sorted(found)


def event_texts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield event and text of every line that is an event's."""
    with _lines(path) as lines:
        for line in lines:
            match = _EVENT_LINE.match(line.rstrip("\n"))
            if match is not None:
                yield match[1], match[2] or ""


def _lines(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", errors="replace")
    return path.open(errors="replace")


HISTORY = SHARED / "tracepoints-history.md"
_CONVERSION = re.compile(r"%(#?)[0-9.]*(?:hh|h|ll|l)?([diuxXscp])K?")
_VCPU_OF_S390 = "00[1-1]: "


@dataclass(frozen=True)
class KernelText:
    """What some kernels print of an event: a made-up text, and the names of its fields and their types."""

    event: str
    kernels: str
    print_format: str
    words: frozenset[str]

    @property
    def text(self) -> str:
        """Return the text with 1 for each number and S for each name."""
        text = _CONVERSION.sub(_converted, self.print_format.replace("\\n", "").replace("\\t", "\t")).strip()
        return _VCPU_OF_S390 + text if self.event.startswith("kvm:kvm_s390_") else text


def _converted(conversion: re.Match[str]) -> str:
    if conversion[2] in "sc":
        return "S"
    return "0x1" if conversion[1] or conversion[2] == "p" else "1"


def kernel_texts() -> tuple[list[KernelText], set[str]]:
    """Return texts of events by kernel, and the events that have the text of their class; none where these are not."""
    if not HISTORY.exists():
        return [], set()
    texts: list[KernelText] = []
    events: dict[str, int] = {}
    event = ""
    for line in HISTORY.read_text("utf-8").splitlines():
        if head := re.match(r"- \*\*([\w-]+:\w+)", line):
            event = head[1]
            events.setdefault(event, 0)
        elif text := re.match(r"  - ([\d., ]+): (.*?) · `(.*)`$", line):
            events[event] += 1
            texts.append(KernelText(event, text[1], text[3], frozenset(re.findall(r"\w+", text[2]))))
    return texts, {event for event, count in events.items() if not count}
