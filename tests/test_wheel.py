"""The sdist and the wheel that is built from it: what is in them, and that the wheel works without the sources."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECORDING = ROOT / "tests/data/recordings/pveoi-idletick-xapic-on.perf.data.zst"
MODULES = {"arch", "commands", "exits", "formats", "report", "store", "tracepoints"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def sources() -> set[str]:
    """Return the files of the project: those that git knows, and those that it would take."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.strip()}")
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


def wheel_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_has_every_module_and_query_and_nothing_else(built: tuple[Path, Path], sources: set[str]) -> None:
    expected = {name for name in sources if name.startswith("kvmtrace/")}
    expected |= {f"kvmtrace/{name}" for name in sources if name.startswith("queries/") and name.endswith(".sql")}
    expected |= {f"kvmtrace/{name}" for name in sources if name.startswith("generators/") and name.endswith(".toml")}
    assert {name.split("/")[1] for name in expected} >= MODULES | {"queries", "py.typed"}
    assert wheel_files(built[1]) == expected


def test_the_wheel_has_one_import_name_and_the_licence(built: tuple[Path, Path]) -> None:
    assert {name.split("/")[0] for name in wheel_files(built[1])} == {"kvmtrace"}
    with zipfile.ZipFile(built[1]) as archive:
        licence = next(name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_sdist_has_what_builds_and_checks_the_project(built: tuple[Path, Path], sources: set[str]) -> None:
    with tarfile.open(built[0]) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("kvmtrace/", "queries/", "generators/", "tests/", "benchmarks/", "docs/")
    named = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"}
    named |= {"constraints.txt", "mkdocs.yml", "pyproject.toml"}
    expected = {name for name in sources if name.startswith(folders) or name in named}
    assert packed - {"PKG-INFO", ".gitignore"} == expected


@pytest.fixture(scope="module")
def program(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `kvmtrace` of an environment that has the wheel, and the libraries of this one, and no sources."""
    environment = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(built[1])], check=True)
    # Python reads .pth files of its own site-packages only: that of an editable install does not count there.
    packages = environment / f"lib/python{sysconfig.get_python_version()}/site-packages"
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin/kvmtrace"


def run(program: Path, *arguments: str) -> str:
    """Run an installed program outside the checkout and return its standard output; it must not complain."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "KVMTRACE_STORE"}}
    folder = program.parents[1]
    command = [str(program), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_package_is_not_the_checkout(program: Path) -> None:
    file = run(program.with_name("python"), "-c", "import kvmtrace; print(kvmtrace.__file__)")
    assert Path(file.strip()).is_relative_to(program.parents[1])


def test_the_installed_program_lists_its_commands_and_queries(program: Path) -> None:
    assert "ingest" in run(program, "--help")
    listed = run(program, "queries", "--format", "csv")
    names = {path.relative_to(ROOT / "queries").with_suffix("").as_posix() for path in ROOT.glob("queries/**/*.sql")}
    assert names
    assert {line.partition(",")[0] for line in listed.splitlines()[1:]} == names


def test_the_installed_program_goes_from_a_recording_to_a_report(program: Path) -> None:
    run_id = run(program, "ingest", str(RECORDING), "--label", "a run").strip()
    assert run_id
    assert run_id in run(program, "report", "a run")
    plot = program.parents[1] / "plot.svg"
    run(program, "report", "--format", "json", "--plot", str(plot))
    assert "<svg" in plot.read_text()
