"""Conditions of a model's file: what they may say, and that they stay one expression over one exit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from whatif_runs import add_recording

from kvmtrace.predicting.conditions import Condition, ConditionError, parsed
from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENTS = ("kvm_msr", "kvm_eoi")


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreConnection]:
    store: Path = tmp_path_factory.mktemp("conditions")
    add_recording(store)
    with StoreConnection(store) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("eoi AND detail = 2059", "(whatif_exit.eoi AND (whatif_exit.detail = 2059))"),
        ("NOT userspace -- as it was", "(NOT whatif_exit.userspace)"),
        ("kvm_msr.ecx = 2059", "(kvm_msr.ecx = 2059)"),
        ("kvm_eoi.n = 0", "(COALESCE(kvm_eoi.n, 0) = 0)"),
        ("reason IN ('a', 'it''s')", "(whatif_exit.reason IN ('a', 'it''s'))"),
        ("interrupt_pending", "whatif_interrupts.interrupt_pending"),
        ("(detail::BIGINT >> 12) BETWEEN 1 AND 2", "((CAST(whatif_exit.detail AS BIGINT) >> 12) BETWEEN 1 AND 2)"),
        ("reason = 'port 0x3f8' -- 0x3f8", "(whatif_exit.reason = 'port 0x3f8')"),
        ("Reason LIKE 'MSR%'", "(whatif_exit.reason ~~ 'MSR%')"),
    ],
)
def test_a_condition_is_what_duckdb_prints_of_it(connection: StoreConnection, text: str, sql: str) -> None:
    assert parsed(connection, text, EVENTS).sql == sql


def test_a_condition_says_what_it_reads(connection: StoreConnection) -> None:
    found = parsed(connection, "eoi AND kvm_msr.n > 1 AND kvm_msr.ecx = 3 AND interrupt_nested", EVENTS)
    assert found == Condition(
        found.sql, frozenset({"eoi", "interrupt_nested"}), frozenset({("kvm_msr", "n"), ("kvm_msr", "ecx")})
    )


@pytest.mark.parametrize(
    "text",
    [
        "true) UNION SELECT 1 --",
        "true) OR (true",
        "eoi) FROM exits; DROP TABLE exits; --",
        "eoi; SELECT 1",
        "eoi, idle",
        "eoi AS idle",
        "eoi FROM exits",
        "eoi WHERE idle",
        "eoi GROUP BY eoi",
        "eoi ORDER BY idle",
        "eoi LIMIT 1",
        "eoi USING SAMPLE 1",
        "eoi UNION SELECT true",
        "DISTINCT eoi",
        "*",
        "COLUMNS(*)",
        "eoi /*",
        "",
    ],
)
def test_what_is_more_than_one_expression_is_refused(connection: StoreConnection, text: str) -> None:
    with pytest.raises(ConditionError):
        parsed(connection, text, EVENTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EXISTS (SELECT 1 FROM exits)", "a condition has no subquery"),
        ("detail = (SELECT max(detail) FROM exits)", "a condition has no subquery"),
        ("sum(detail) > 1", "a condition has no function sum"),
        ("sum(detail) OVER () > 1", "a condition has no window"),
        ("read_text('/etc/hostname') = ''", "a condition has no function read_text"),
        ("getenv('HOME') = ''", "a condition has no function getenv"),
        ("detail = $run_id", "a condition has no parameter"),
        ("list_transform([1], lambda x: x) = [1]", "a condition has no"),
        ("exits.eoi", "exits.eoi: expected a column of the exit"),
        ("kvm_pio.n = 1", "kvm_pio.n: expected a column of the exit, or FIELD of an event"),
        ("whatif_exit.eoi", "whatif_exit.eoi: expected a column of the exit"),
        ("detail = 0x80b", "SQL has no hexadecimal numbers: 0x80b is 2059"),
        ("(" * 3000 + "eoi" + ")" * 3000, ""),
    ],
)
def test_what_a_condition_cannot_say_is_refused_by_its_name(
    connection: StoreConnection, text: str, message: str
) -> None:
    with pytest.raises(ConditionError) as caught:
        parsed(connection, text, EVENTS)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_the_nearest_name_is_the_hint(connection: StoreConnection) -> None:
    for text, hint in (("reasn = 'x'", "nearest: reason"), ("kvm_mrs.n = 1", "nearest: kvm_msr")):
        with pytest.raises(ConditionError) as caught:
            parsed(connection, text, EVENTS)
        assert caught.value.hint == hint
