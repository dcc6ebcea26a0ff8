"""A budget file: what is wrong in it is one line with file, line and the near name."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmtrace.budget.budget_file import Budgets, parse, read
from kvmtrace.budget.metrics import is_time
from kvmtrace.comparing.claims import Figure
from kvmtrace.comparing.expressions import Expression
from kvmtrace.errors import InputError

PATH = Path("budget.toml")
ENTRY = """\
[[budget]]
name = "exits"
metric = "exits()"
scope = "ratio"
at_most = 1.05
"""


def parsed(text: str) -> Budgets:
    return parse(text, PATH)


def test_what_a_budget_does_not_say_the_file_says_or_the_defaults() -> None:
    (plain,) = parsed(ENTRY).budgets
    assert (plain.figure, plain.at_most, plain.at_least) == (Figure.RATIO, 1.05, None)
    assert (plain.minimum_effect, plain.confidence, plain.undecided_passes, plain.accept_single) == (
        0.01, 0.95, False, False,
    )  # fmt: skip
    head = 'undecided = "pass"\nconfidence = 0.99\nminimum_effect = 0.05\n'
    (of_file,) = parsed(head + ENTRY).budgets
    assert (of_file.minimum_effect, of_file.confidence, of_file.undecided_passes) == (0.05, 0.99, True)
    own = 'undecided = "fail"\nconfidence = 0.9\nminimum_effect = 0.0\naccept_single = true\n'
    (of_entry,) = parsed(head + ENTRY + own).budgets
    assert (of_entry.minimum_effect, of_entry.confidence, of_entry.undecided_passes) == (0.0, 0.9, False)
    assert of_entry.accept_single


def test_counts_stand_before_times_and_else_in_the_order_of_the_file() -> None:
    metrics = ["p99_ns()", "exits()", "time_ns() / seconds", "kvm_exit / kvm_inj_virq", 'value("cycles")']
    text = "".join(
        ENTRY.replace('"exits"', f'"{n}"').replace('"exits()"', f"'{metric}'") for n, metric in enumerate(metrics)
    )
    assert [budget.name for budget in parsed(text).budgets] == ["1", "3", "0", "2", "4"]


@pytest.mark.parametrize(
    ("metric", "time"),
    [
        ("exits()", False),
        ("exits() / guest_seconds", False),
        ("exits() / time_ns()", False),
        ("kvm_exit / kvm_inj_virq - 1", False),
        ("mean_ns()", True),
        ("time_ns() / exits()", True),
        ("2 * p50_ns()", True),
        ("guest_seconds", True),
    ],
)
def test_what_a_figure_is_divided_by_makes_no_time_of_it(metric: str, time: bool) -> None:
    assert is_time(Expression(metric).term) is time


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "budget.toml: the budget file: expected at least one [[budget]], found none: nothing would be checked"),
        ("confidence = 0.9\n", "budget.toml: the budget file: expected at least one [[budget]]"),
        ("[[budget]\n", "budget.toml:1: expected TOML, found something else"),
        (ENTRY.replace("scope", "scop"), "budget.toml:4: budget.0.scop: unknown key 'scop': did you mean scope?"),
        (
            ENTRY.replace('"ratio"', '"ration"'),
            "budget.toml:4: budget.0.scope: input should be 'ratio', 'difference' or 'new', found 'ration'",
        ),
        (
            ENTRY.replace("[[budget]]", "[[budgets]]"),
            "budget.toml:1: budgets: unknown key 'budgets': did you mean budget?",
        ),
        (ENTRY.replace("at_most = 1.05", ""), "budget.toml:1: budget.0: expected a limit: at_most, at_least or both"),
        (ENTRY + "at_least = 2\n", "budget.toml:6: budget.0.at_least: at_least is above at_most"),
        (ENTRY.replace("1.05", '"5%"'), "budget.toml:5: budget.0.at_most: input should be a valid number, found '5%'"),
        (ENTRY.replace("1.05", "nan"), "budget.toml:5: budget.0.at_most: input should be a finite number"),
        (ENTRY + "confidence = 95\n", "budget.toml:6: budget.0.confidence: input should be less than or equal to"),
        (
            ENTRY.replace('"ratio"', '"new"') + "minimum_effect = 0.1\n",
            "budget.toml:6: budget.0.minimum_effect: minimum_effect is about a change",
        ),
        (ENTRY + ENTRY, "budget.toml:7: budget.1.name: there are two budgets 'exits'"),
        (ENTRY.replace('"exits()"', '"exits("'), "budget.toml:3: metric 'exits(' is no expression"),
        (ENTRY.replace('"exits()"', '"p99()"'), "budget.toml:3: metric 'p99()': there is no function p99"),
        (ENTRY.replace('"exits()"', '"3 * 4"'), "budget.toml:3: metric '3 * 4': it asks nothing of a recording"),
        (ENTRY.replace('"exits"', '"a\\u0007b"'), "budget.toml:2: budget.0.name: string should match pattern"),
    ],
)
def test_what_is_wrong_is_a_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parsed(text)
    assert error.value.message.startswith(message)
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("metric", "hint"),
    [("ratio(exits())", "`scope` says ratio"), ("exits() <= 3", "`at_most` the limit"), ("p99()", "p99_ns")],
)
def test_who_writes_a_claim_is_told_how_a_budget_says_it(metric: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        parsed(ENTRY.replace("exits()", metric))
    assert hint in str(error.value.hint)


def test_a_file_that_cannot_be_read_is_an_error_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "missing.toml")
    with pytest.raises(InputError, match="Is a directory"):
        read(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        read(tmp_path / "binary.toml")
