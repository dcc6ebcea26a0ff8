"""`kvmtrace report`: the exits of runs, or what else they hold."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import DEFAULT_STORE, ForceOption, OutputOption, ReportFormatOption, StoreOption
from kvmtrace.commands.output import can_write, check_outputs, say, terminal_width, warn, write_report
from kvmtrace.commands.stored import opened
from kvmtrace.exit_keys import By
from kvmtrace.report.tables import ReportFormat

if TYPE_CHECKING:
    from kvmtrace.api.reports import Report

_OWN_SIGNS = "µ±…█"
_LARGE_PAGE = 3_000_000  # bytes: no page of one run is larger


def report(
    run: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Id or its beginning, label, or source; none: the latest run."),
    ] = None,
    by: Annotated[
        list[By] | None, typer.Option("--by", help="What exits are told apart by; repeatable. [default: reason]")
    ] = None,
    report_format: ReportFormatOption = ReportFormat.TEXT,
    output: OutputOption = None,
    force: ForceOption = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the latencies too, to a .png or .svg file.")
    ] = None,
    with_idle: Annotated[bool, typer.Option("--with-idle", help="Count idle exits with the others.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Read every exit: percentiles are exact.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Report the exits of runs: how many, how often, how long they kept the guest waiting."""
    check_outputs(output, plot, report_format, force=force)
    if plot is not None:
        from kvmtrace.report import figure_style, figures

        figure_style.file_format(plot)
    keys = tuple(dict.fromkeys(by or [By.REASON]))
    with opened(store) as store_at_hand:
        if not run:
            latest = store_at_hand.manifest()
            say(f"run {latest.run_id} ({latest.source.title}), the latest")
        answer = store_at_hand.report(
            run or None, by=keys, with_idle=with_idle, exact=exact, distribution_by_reason=plot is not None
        )
        text = _render(answer, report_format, to_terminal=output is None)
    summaries = answer.summaries
    if by and any(summary.exits is None for summary in summaries):
        say("--by tells exits apart; runs without exits are reported as they are")
    if plot is not None:  # first, as there may be nothing to draw: no half of the answer then
        figures.save(summaries, plot, force=force)
    write_report(text, report_format, output, force=force)
    if report_format is ReportFormat.HTML and len(summaries) > 1 and (size := len(text.encode())) > _LARGE_PAGE:
        say(f"the page of {len(summaries):,} runs has {size / 1e6:.1f} MB; a page for each is below 3 MB")


def _render(answer: "Report", report_format: ReportFormat, *, to_terminal: bool) -> str:
    summaries = answer.summaries
    unicode = not to_terminal or can_write(_OWN_SIGNS)
    match report_format:
        case ReportFormat.CSV:
            from kvmtrace.report import machine, wording

            for summary in summaries:
                warn(wording.warnings(summary))
            return machine.to_csv(summaries)
        case ReportFormat.JSON:
            return answer.to_json()
        case ReportFormat.HTML:
            return answer.to_page()
        case ReportFormat.MARKDOWN:
            from kvmtrace.report import markdown

            return markdown.render(summaries, unicode=unicode)
    from kvmtrace.report import text

    width = terminal_width() if to_terminal else None
    return text.render(summaries, terminal_width=width, unicode=unicode)
