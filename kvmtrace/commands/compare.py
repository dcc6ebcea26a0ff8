"""`kvmtrace compare`: what changed between two sides of runs, and how sure that is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import DEFAULT_STORE, ForceOption, OutputOption, ReportFormatOption, StoreOption
from kvmtrace.commands.output import can_write, check_outputs, say, terminal_width, warn, write_report
from kvmtrace.commands.stored import opened
from kvmtrace.errors import UsageError
from kvmtrace.exit_keys import By
from kvmtrace.report.tables import ReportFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.api.comparison import ComparisonResult
    from kvmtrace.comparing.comparison import Comparison

_OWN_SIGNS = "µ±\N{MULTIPLICATION SIGN}"


def compare(
    base: Annotated[
        list[str],
        typer.Argument(metavar="BASE...", help="Runs before: id or its beginning, label, source, or all of a tag K=V."),
    ],
    against: Annotated[
        list[str], typer.Option("--against", metavar="NEW", help="A run after, or all of a tag K=V; repeatable.")
    ],
    by: Annotated[
        list[By] | None, typer.Option("--by", help="What exits are told apart by; repeatable. [default: reason]")
    ] = None,
    per: Annotated[
        str,
        typer.Option(
            "--per",
            metavar="WHAT",
            help="Divide by second, guest-second, vcpu, run, an event, or work=N/M of base/new.",
        ),
    ] = "second",
    with_idle: Annotated[bool, typer.Option("--with-idle", help="Count the time of idle exits too.")] = False,
    events: Annotated[bool, typer.Option("--events", help="Compare every tracepoint too.")] = False,
    minimum_effect: Annotated[
        str, typer.Option("--minimum-effect", metavar="SHARE", help="The least change that counts: 1% or 0.01.")
    ] = "1%",
    level: Annotated[
        str, typer.Option("--level", metavar="SHARE", help="Level of confidence of the intervals: 0.95 or 95%.")
    ] = "0.95",
    claim: Annotated[
        list[str] | None,
        typer.Option("--claim", metavar="CLAIM", help='Put to the test: "ratio(kvm_exit / kvm_inj_virq) <= 0.55".'),
    ] = None,
    report_format: ReportFormatOption = ReportFormat.TEXT,
    output: OutputOption = None,
    force: ForceOption = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw both sides too, to a .png or .svg file.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Compare runs before and after: what changed, what made the change, and how sure that is."""
    check_outputs(output, plot, report_format, force=force)
    if plot is not None:
        from kvmtrace.report import comparison_figure
        from kvmtrace.report.figure_style import file_format

        file_format(plot)
    shares = {"minimum_effect": _share(minimum_effect, "--minimum-effect"), "level": _level(level)}
    with opened(store) as store_at_hand:
        answer = store_at_hand.compare(
            base,
            against,
            by=by or [By.REASON],
            per=per,
            with_idle=with_idle,
            events=events,
            claims=claim or (),
            **shares,
        )
    text = _render(answer, report_format, to_terminal=output is None)
    if plot is not None:  # first, as there may be nothing to draw: no half of the answer then
        comparison_figure.save(answer.comparison, plot, force=force)
    write_report(text, report_format, output, force=force)


def _share(text: str, option: str) -> float:
    """Return a share from 0 on: `1%` or `0.01`."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise UsageError(f"{option}: expected a share such as 1% or 0.01, found {text!r}")
    return share


def _level(text: str) -> float:
    level = _share(text, "--level")
    if not 0 < level < 1:
        raise UsageError(f"--level: expected a share between 0 and 1, found {text!r}", hint="--level 0.95")
    return level


def _render(answer: "ComparisonResult", report_format: ReportFormat, *, to_terminal: bool) -> str:
    unicode = not to_terminal or can_write(_OWN_SIGNS)
    match report_format:
        case ReportFormat.CSV:
            from kvmtrace.report import comparison_machine

            _say_beside(answer.comparison)
            return comparison_machine.to_csv(answer.comparison)
        case ReportFormat.JSON:
            return answer.to_json()
        case ReportFormat.MARKDOWN:
            from kvmtrace.report import markdown

            return markdown.lay_out(answer.blocks(), unicode=unicode)
        case ReportFormat.HTML:
            return answer.to_page()
    from kvmtrace.report import text

    width = terminal_width() if to_terminal else None
    return text.lay_out(answer.blocks(), terminal_width=width, unicode=unicode)


def _say_beside(comparison: "Comparison") -> None:
    """Say on standard error what a table for programs has no room for."""
    from kvmtrace.report import comparison_words

    warn(comparison.warnings)
    told: Sequence[str] = [comparison_words.claim(claimed) for claimed in comparison.claims]
    for sentence in told:
        say(sentence)
