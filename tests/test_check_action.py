"""The composite action and the workflow of the docs: their steps are run as a runner of GitHub runs them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from junit_schema import outcomes

ROOT = Path(__file__).parents[1]
ACTION = ROOT / "docs" / "action" / "action.yml"
WORKFLOW = ROOT / "docs" / "examples" / "kvm-exits.yml"
RECORDINGS = ROOT / "tests" / "data" / "recordings"
_EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
Step = dict[str, Any]


@dataclass
class Runner:
    """A runner: steps one after the other, each a fresh bash in the workspace."""

    workspace: Path
    known: dict[str, str] = field(default_factory=dict)  # what ${{ … }} stands for
    failed: bool = False

    def __post_init__(self) -> None:
        self.files = {name: self.workspace / f".{name}" for name in ("OUTPUT", "STEP_SUMMARY", "PATH")}
        for path in self.files.values():
            path.touch()
        tools = self.workspace / ".bin"
        tools.mkdir()
        wrapper = tools / "kvmtrace"
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m kvmtrace "$@"\n')
        wrapper.chmod(0o755)
        self.environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(self.workspace),
            "RUNNER_TEMP": str(self.workspace),
            "PYTHONPATH": str(ROOT),
            **{f"GITHUB_{name}": str(path) for name, path in self.files.items()},
        }

    def value(self, text: str) -> str:
        """Return a text with its expressions as what they stand for."""
        return _EXPRESSION.sub(lambda match: self.known[match[1]], text)

    def run(self, step: Step) -> subprocess.CompletedProcess[str]:
        """Run a step: `bash -e` in a workflow, `bash -eo pipefail` where it asks for bash."""
        own = {name: self.value(text) for name, text in step.get("env", {}).items()}
        self.files["OUTPUT"].write_text("")
        flags = ["--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["-e"]
        done = subprocess.run(
            ["bash", *flags, "-c", self.value(step["run"])],
            cwd=self.workspace,
            env=self.environment | own,
            capture_output=True,
            text=True,
            check=False,
        )
        self.failed |= done.returncode != 0
        for line in self.files["OUTPUT"].read_text().splitlines():
            name, _, value = line.partition("=")
            self.known[f"steps.{step['id']}.outputs.{name}"] = value
        return done


def run_action(runner: Runner, given: dict[str, str], step_id: str) -> subprocess.CompletedProcess[str]:
    """Run the steps of the action with inputs, and return what the last one printed."""
    action = yaml.safe_load(ACTION.read_text())
    inputs = {name: given.pop(name, each.get("default")) for name, each in action["inputs"].items()}
    assert not given, "inputs that the action does not have"
    assert None not in inputs.values(), "inputs that it requires"
    runner.known |= {f"inputs.{name}": value for name, value in inputs.items()}
    runner.known["github.action_path"] = str(ACTION.parent)
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"], "what others wrote would be run"
        done = runner.run(step)
    for name, output in action["outputs"].items():
        runner.known[f"steps.{step_id}.outputs.{name}"] = runner.value(output["value"])
    return done


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Return a runner whose workspace is the project, with the artifacts of both sides."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return Runner(tmp_path)


def put(runner: Runner, folder: str, variant: str) -> None:
    """Put a recording where download-artifact would."""
    (runner.workspace / folder).mkdir()
    recording = RECORDINGS / f"pveoi-idletick-xapic-{variant}.perf.data.zst"
    (runner.workspace / folder / "perf.data").symlink_to(recording)


@pytest.mark.parametrize(
    ("base", "new", "code", "said"), [("off", "on", 0, "within budget"), ("on", "off", 1, "over budget")]
)
def test_the_workflow_of_the_docs_lets_less_exits_pass_and_stops_more(
    runner: Runner, base: str, new: str, code: int, said: str
) -> None:
    put(runner, "base", base)
    put(runner, "new", new)
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["budget"]["steps"]
    printed = []
    for step in steps:
        if runner.failed and step.get("if") != "always()":
            continue
        if step.get("uses") == "./docs/action":
            done = run_action(runner, dict(step["with"]), step["id"])
            assert done.returncode == code, done.stderr
            printed.append(done.stdout)
        elif "run" in step:
            printed.append(runner.run(step).stdout)
    assert printed[-1] == f"{said}\n"
    assert printed[0].splitlines()[0].startswith("kvmtrace check: ")
    assert f"::{'error' if code else 'notice'} title=kvmtrace check::" in printed[0]
    assert runner.files["STEP_SUMMARY"].read_text().startswith("## kvmtrace check: ")
    upload = steps[-1]["with"]["path"]
    assert list(outcomes(runner.workspace / upload).values()) == (
        ["", "", "skipped"] if not code else ["failure", "failure", "skipped"]
    )


def stub(runner: Runner, code: int) -> Path:
    """Put in place of the program one that notes its arguments, one a line, and ends; return the file of notes."""
    notes = runner.workspace / "arguments"
    program = runner.workspace / ".bin" / "kvmtrace"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {shlex.quote(str(notes))}\nexit {code}\n')
    return notes


def test_an_input_is_never_run_and_lines_are_names(runner: Runner) -> None:
    notes = stub(runner, 0)
    given = {"base": "\na folder\n", "new": "./-n $(touch pwned)\nb;c\n", "budget": "docs/examples/budget.toml"}
    done = run_action(runner, given, "exits")
    assert done.returncode == 0, done.stderr
    assert not (runner.workspace / "pwned").exists()
    arguments = notes.read_text().splitlines()
    assert arguments[:5] == ["check", "--against", "./-n $(touch pwned)", "--against", "b;c"]
    assert arguments[-2:] == ["--", "a folder"]


@pytest.mark.parametrize("code", [0, 1, 3, 4])
def test_the_action_ends_as_the_check_does_and_tells_the_exit_code(runner: Runner, code: int) -> None:
    stub(runner, code)
    done = run_action(runner, {"base": "base", "new": "nwe", "budget": "docs/examples/budget.toml"}, "exits")
    assert done.returncode == code
    assert runner.known["steps.exits.outputs.exit-code"] == str(code)


def test_the_recording_is_given_to_who_uploads_it(runner: Runner) -> None:
    sudo = runner.workspace / ".bin" / "sudo"
    sudo.write_text('#!/bin/sh\necho "$@" >> asked\n')
    sudo.chmod(0o755)
    (step, upload) = yaml.safe_load(WORKFLOW.read_text())["jobs"]["record"]["steps"]
    runner.run(step)
    assert not runner.failed
    perf, chown = (runner.workspace / "asked").read_text().splitlines()
    assert perf.startswith("perf record ")
    assert chown == f"chown {os.getuid()} {upload['with']['path']}"
