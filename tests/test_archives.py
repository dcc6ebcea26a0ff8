"""An archive of inputs: each file a run, wherever it stands, and nothing written where its names say."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import MSR, KvmRecording

from kvmtrace.cli import run as run_program
from kvmtrace.errors import InputError
from kvmtrace.formats.archives import is_archive, members
from kvmtrace.formats.source import ReadOptions, Source, open_source
from kvmtrace.ingesting import ingest
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from collections.abc import Callable

PERF_STAT = Path(__file__).parent / "data" / "perf-stat" / "x86-pv-eoi-on.txt"


def recording(start_ns: int) -> bytes:
    made = KvmRecording("kvm_msr")
    made.exit(start_ns, MSR)
    made.event("kvm_msr", start_ns + 10, ecx=0x10)
    made.enter(start_ns + 100)
    with tempfile.TemporaryDirectory() as folder:
        return made.write(Path(folder) / "made").read_bytes()


def info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.type, header.linkname = size, kind, link
    return header


def archive(*files: tuple[tarfile.TarInfo | str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of files (name or header, content)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for named, content in files:
            header = info(named, len(content)) if isinstance(named, str) else named
            tar.addfile(header, io.BytesIO(content))
    return packed.getvalue()


def read(path: Path, options: ReadOptions | None = None) -> list[tuple[str, bytes] | str]:
    """Return name and content of each file of an archive, or why it is none."""
    found: list[tuple[str, bytes] | str] = []
    with open_source(str(path), options or ReadOptions()) as source:
        assert is_archive(source.head())
        for member in members(source):
            if isinstance(member, Source):
                with member:
                    found.append((member.name, member.read_at(0, member.size)))
            else:
                found.append(member.message)
    return found


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_files_of_an_archive_are_inputs_where_they_stand(tmp_path: Path, form: int) -> None:
    path = tmp_path / "all.tar"
    files = [("a/one", b"first"), ("b/" + "n" * 90, b""), ("c/three", bytes(range(256)) * 9)]
    path.write_bytes(archive((info("a", kind=tarfile.DIRTYPE), b""), *files, form=form))
    assert read(path) == [(f"all.tar:{name}", content) for name, content in files]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress])
def test_archive_and_files_may_be_compressed(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "all.tar.packed"
    path.write_bytes(pack(archive(("plain", b"as it is"), ("packed", pack(b"not as it is")))))
    assert read(path) == [("all.tar.packed:plain", b"as it is"), ("all.tar.packed:packed", b"not as it is")]


def test_links_and_devices_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
    odd: list[tuple[tarfile.TarInfo | str, bytes]] = [
        (info(f"{n}", kind=kind, link="/etc/passwd"), b"") for n, kind in enumerate(kinds)
    ]
    path.write_bytes(archive(*odd, ("good", b"good")))
    said = read(path)
    assert said[:-1] == [f"{path}:{n}: expected a file, found a link or a device" for n in range(len(kinds))]
    assert said[-1] == ("all.tar:good", b"good")


def test_each_file_is_a_run_and_the_same_one_as_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = recording(1_000), recording(5_000)
    path = tmp_path / "ci.tar.zst"
    files = (("off/perf.data", first), ("on/perf.data", gzip.compress(second)), ("stat.txt", PERF_STAT.read_bytes()))
    path.write_bytes(zstandard.compress(archive(*files, ("notes.txt", b"made on Friday\n"))))
    store = tmp_path / "store"
    assert run_program(["ingest", str(path), "--store", str(store)]) == 0
    shown = capsys.readouterr()
    assert "passed over: " in shown.err
    assert "notes.txt: expected figures of KVM" in shown.err
    (tmp_path / "second").write_bytes(second)
    alone = [ingest(str(file), store, Label())[0] for file in (tmp_path / "second", PERF_STAT)]
    assert [run.was_there for run in alone] == [True, True]
    assert shown.out.splitlines()[1:] == [run.manifest.run_id for run in alone]
    assert [run.manifest.source.name for run in alone] == ["ci.tar.zst:on/perf.data", "ci.tar.zst:stat.txt"]


def test_a_name_that_leads_elsewhere_leads_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    names = ["../../outside", "/etc/outside", "a\x1b[31m\n", "C:\\outside"]
    files = [(name, recording(1_000 * n)) for n, name in enumerate(names, 1)]
    (inside / "all.tar").write_bytes(archive(*files))
    assert run_program(["ingest", str(inside / "all.tar"), "--store", str(inside / "store")]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == len(names)
    assert "\x1b" not in shown.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside"]
    assert sorted(path.name for path in inside.iterdir()) == ["all.tar", "store"]


def test_a_damaged_file_stops_no_other_and_the_exit_code_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.tar"
    path.write_bytes(archive(("bad", b"PERFILE2"), ("packed", gzip.compress(b"x" * 99)[:-9]), ("good", recording(1))))
    assert run_program(["ingest", str(path), "--store", str(tmp_path / "store")]) == 3
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 1
    errors = [line for line in shown.err.splitlines() if line.startswith("kvmtrace: error: ")]
    assert errors[0].startswith(f"kvmtrace: error: {path}:bad: expected a perf.data header")
    assert errors[1].startswith(f"kvmtrace: error: {path}:packed: expected gzip data to its end, found damage")
    assert errors[2] == f"kvmtrace: error: {path}: 2 of its files are not ingested"
    with pytest.raises(InputError, match=r"perf\.data header"):
        ingest(str(path), tmp_path / "store", Label())


def test_an_archive_without_a_recording_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    path.write_bytes(archive(("one", b"nothing\n"), ("two", b"")))
    with pytest.raises(InputError, match="expected a recording in the archive, found none in its 2 files"):
        ingest(str(path), tmp_path / "store", Label(), failed=lambda _: None)


def test_a_header_that_says_it_is_huge_is_not_read(tmp_path: Path) -> None:
    huge = info("long name", 1 << 40, tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "all.tar"
    path.write_bytes(archive(("good", b"good"))[:1024] + huge + bytes(10240))
    good, damage = read(path)
    assert good == ("all.tar:good", b"good")
    assert isinstance(damage, str)
    assert "expected a tar archive to its end, found damage" in damage


def test_an_archive_cut_off_anywhere_gives_what_stands_before_the_cut(tmp_path: Path) -> None:
    whole = archive(("first", b"1" * 700), ("second", b"2" * 30))
    path = tmp_path / "cut.tar"
    for length in range(512, len(whole) - 10240 + 4096, 7):
        path.write_bytes(whole[:length])
        said = read(path)
        if length < 512 + 700:
            assert said[0] == f"{path}:first: expected 700 bytes, found the archive's end behind {length - 512}"
        else:
            assert said[0] == ("cut.tar:first", b"1" * 700)


def zipped(*files: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as output:
        for name, content in files:
            output.writestr(name, content)
    return packed.getvalue()


def test_a_zip_is_an_archive_as_well(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    path.write_bytes(zipped(("folder/", b""), ("../one", b"first" * 999), ("two.gz", gzip.compress(b"second"))))
    assert read(path) == [("all.zip:../one", b"first" * 999), ("all.zip:two.gz", b"second")]
    assert read(path, ReadOptions(max_unpacked_bytes=100)) == [
        f"{path}:../one: expected zip data of at most 100 bytes when unpacked, found more",
        ("all.zip:two.gz", b"second"),
    ]


def test_a_zip_cut_off_or_damaged_anywhere_ends_in_files_or_in_one_line_each(tmp_path: Path) -> None:
    contents = [b"1" * 700, bytes(range(256))]
    whole = zipped(("first", contents[0]), ("second", contents[1]))
    path = tmp_path / "all.zip"
    for length in range(4, len(whole)):
        path.write_bytes(whole[:length])
        (said,) = read(path)
        assert isinstance(said, str)
        assert "expected a zip archive to its end, found damage" in said
    for place in range(4, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        for found in read(path):
            assert "expected" in found if isinstance(found, str) else found[1] in contents


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_end_in_files_or_in_one_line_each(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(archive(("first", b"1" * 700), ("second", gzip.compress(b"2" * 30)), form=tarfile.GNU_FORMAT))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, 4 * 512).filter(lambda at: not 257 <= at < 262))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "all.tar"
    path.write_bytes(content)
    for found in read(path):
        assert isinstance(found, tuple) or "expected" in found


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress])
def test_what_unpacks_to_too_much_is_refused_with_the_limit(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(pack(bytes(3 << 20)))
    with pytest.raises(InputError, match=r"at most 2,097,152 bytes when unpacked, found more") as refused:
        open_source(str(path), ReadOptions(max_unpacked_bytes=2 << 20))
    told = 4 if pack is lzma.compress else 3  # xz tells it at its end only: twice the limit is tried
    assert refused.value.hint == f"if that is no trick, raise the limit: --max-unpacked {told} (MiB)"
    with open_source(str(path), ReadOptions(max_unpacked_bytes=3 << 20)) as source:
        assert source.size == 3 << 20


def test_the_limit_holds_for_a_file_in_an_archive_and_as_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.tar"
    path.write_bytes(archive(("bomb", gzip.compress(bytes(3 << 20)))))
    assert run_program(["ingest", str(path), "--store", str(tmp_path / "store"), "--max-unpacked", "2"]) == 3
    assert "--max-unpacked 3 (MiB)" in capsys.readouterr().err


def test_all_files_of_an_archive_share_one_limit(tmp_path: Path) -> None:
    files = [(f"{n}", b"x" * (1 << 20)) for n in range(4)]
    options = ReadOptions(max_unpacked_bytes=3 << 20)
    whole = [(f"{n}", b"x" * (1 << 20)) for n in range(3)]
    for name, content in (
        ("all.zip", zipped(*files)),
        ("all.tar", archive(*((name, gzip.compress(content)) for name, content in files))),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        *good, bad = read(path, options)
        assert good == [(f"{name}:{inner}", content) for inner, content in whole]
        assert isinstance(bad, str)
        assert "data of at most 3,145,728 bytes when unpacked, found more" in bad
    path.with_name("once.gz").write_bytes(gzip.compress(archive(*files)))
    with pytest.raises(InputError, match="at most 3,145,728 bytes"):
        read(path.with_name("once.gz"), options)


def test_the_limit_that_is_suggested_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    path.write_bytes(zipped(*((f"{n}", b"x" * (5 << 20)) for n in range(3))))
    with open_source(str(path), ReadOptions(max_unpacked_bytes=1 << 20)) as source:
        first = next(members(source))
    assert isinstance(first, InputError)
    assert first.hint == "if that is no trick, raise the limit: --max-unpacked 15 (MiB)"
    assert len(read(path, ReadOptions(max_unpacked_bytes=15 << 20))) == 3
    assert all(isinstance(file, tuple) for file in read(path, ReadOptions(max_unpacked_bytes=15 << 20)))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE])
def test_headers_without_end_are_damage(tmp_path: Path, kind: bytes) -> None:
    chained = info("././@LongLink", 1, kind).tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")
    path = tmp_path / "all.tar"
    path.write_bytes(archive(("good", b"good"))[:1024] + chained * 2_000 + bytes(10240))
    good, damage = read(path)
    assert good == ("all.tar:good", b"good")
    assert isinstance(damage, str)
    assert "found damage" in damage  # in a header or of the archive: versions of tarfile differ


def test_headers_are_bounded_for_all_of_a_file_together(tmp_path: Path) -> None:
    long = info("././@LongLink", 1 << 21, tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT) + b"n" * (1 << 21)
    path = tmp_path / "all.tar"
    path.write_bytes(long * 2 + archive(("good", b"good")))
    (damage,) = read(path)
    assert isinstance(damage, str)
    assert "headers of more than 4,194,304 bytes for one file" in damage


def test_files_that_are_too_many_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvmtrace.formats.archives._MAX_MEMBERS", 2)
    files = [(f"{n}", b"x") for n in range(4)]
    for name, content in (("all.tar", archive(*files)), ("all.zip", zipped(*files))):
        path = tmp_path / name
        path.write_bytes(content)
        *good, rest = read(path)
        assert good == [(f"{name}:0", b"x"), (f"{name}:1", b"x")]
        assert rest == f"{path}: expected an archive of at most 2 files, found more: the others are not read"
        path.write_bytes(archive(*files[:2]))
        assert len(read(path)) == 2


def test_a_format_that_is_named_is_that_of_the_files_of_an_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.tar"
    path.write_bytes(archive(("stat.txt", PERF_STAT.read_bytes()), ("perf.data", recording(1_000))))
    arguments = ["ingest", str(path), "--store", str(tmp_path / "store"), "--format", "perf-stat"]
    assert run_program(arguments) == 3
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 1
    assert "all.tar:stat.txt: run " in shown.err
    assert "all.tar:perf.data: expected a line `Performance counter stats for" in shown.err


def test_a_label_is_for_an_archive_of_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, store = tmp_path / "all.tar", tmp_path / "store"
    path.write_bytes(archive(("a", recording(1_000)), ("b", recording(2_000))))
    assert run_program(["ingest", str(path), "--store", str(store), "--label", "x"]) == 2
    assert f"--label names one run, and {path} holds several" in capsys.readouterr().err
    assert not (store / "runs").exists()
    path.write_bytes(archive(("notes", b"made on Friday\n"), ("packed", gzip.compress(recording(1_000)))))
    assert run_program(["ingest", str(path), "--store", str(store), "--label", "x"]) == 0
    (run_id,) = capsys.readouterr().out.splitlines()
    assert Catalogue(store).label(run_id) == Label("x")


def test_an_archive_of_many_files_is_read_to_its_end(tmp_path: Path) -> None:
    files = [("a/" * 60 + f"{n}", b"x") for n in range(300)]
    path = tmp_path / "all.tar"
    path.write_bytes(archive(*files, form=tarfile.GNU_FORMAT))
    assert read(path) == [(f"all.tar:{name}", content) for name, content in files]


def test_a_damaged_header_between_files_is_not_the_end(tmp_path: Path) -> None:
    whole = bytearray(archive(("good", b"good"), ("other", b"other"), ("last", b"last")))
    whole[1024 + 150] ^= 1  # the checksum of the second header
    path = tmp_path / "all.tar"
    path.write_bytes(whole)
    good, damage = read(path)
    assert isinstance(damage, str)
    assert good == ("all.tar:good", b"good")
    assert damage.endswith(":1024: expected the header of a file or the end of the tar, found damage")
