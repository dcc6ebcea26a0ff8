"""The tracefs `format` grammar: fields of a tracepoint, and its print fmt as expressions that can be evaluated."""

from kvmtrace.tracepoints.errors import EvaluationError, FormatError
from kvmtrace.tracepoints.expressions import Expression, Value, Values
from kvmtrace.tracepoints.fields import EventFormat, Field, FieldShape
from kvmtrace.tracepoints.format_text import parse_format
from kvmtrace.tracepoints.print_format import Conversion, PrintFormat
from kvmtrace.tracepoints.symbols import field_symbols

__all__ = [
    "Conversion",
    "EvaluationError",
    "EventFormat",
    "Expression",
    "Field",
    "FieldShape",
    "FormatError",
    "PrintFormat",
    "Value",
    "Values",
    "field_symbols",
    "parse_format",
]
