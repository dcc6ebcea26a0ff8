from pathlib import Path

import pytest

from kvmtrace import resources

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["queries", "generators"])
def test_a_checkout_has_its_data_folders_beside_the_package(name: str) -> None:
    assert resources.folder(name) == ROOT / name
    assert resources.folder(name).is_dir()


def test_an_installed_package_has_them_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "kvmtrace"
    (package / "queries").mkdir(parents=True)
    (tmp_path / "queries").mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.folder("queries") == package / "queries"
