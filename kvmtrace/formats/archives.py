"""An archive of inputs, tar or zip → each of its files as a source of its own.

Names within an archive are names only, never paths on this machine; links and devices are no inputs and are passed
over. A file of a tar is read where it stands; a compressed one is unpacked first.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
from typing import IO, TYPE_CHECKING, cast

from kvmtrace.errors import InputError, UnknownFormatError
from kvmtrace.formats.source import Source, content
from kvmtrace.formats.unpacking import copied

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_ZIP_MAGIC = b"PK\x03\x04"
_LARGEST_HEADER = 1 << 22
"""Bytes of a long name or of pax records: tarfile reads them in one piece, as long as the archive says they are."""
_HEADER_READS = 128
"""Headers of one file, and their contents: tarfile goes one call deeper for each."""
_MAX_MEMBERS = 100_000
_TAR_DAMAGE = (tarfile.TarError, ValueError, OverflowError, EOFError)
_ZIP_DAMAGE = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OverflowError, EOFError, OSError)


def is_archive(head: bytes) -> bool:
    """Tell whether an input that begins with `head` is a tar or a zip."""
    return _is_tar(head) or head.startswith(_ZIP_MAGIC)


def _is_tar(head: bytes) -> bool:
    return head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + len(_TAR_MAGIC)] == _TAR_MAGIC


def members(archive: Source) -> Iterator[Source | InputError]:
    """Yield the files of an archive in order, each to be closed by the caller, or why one cannot be an input."""
    found = _tar(archive) if _is_tar(archive.head()) else _zip(archive)
    for number, member in enumerate(found):
        if number == _MAX_MEMBERS:
            if isinstance(member, Source):
                member.close()
            what = f"expected an archive of at most {_MAX_MEMBERS:,} files, found more: the others are not read"
            yield InputError(archive.path, what, hint="unpack it, and give the files that you mean")
            return
        yield member


def _tar(archive: Source) -> Iterator[Source | InputError]:
    reader = _Bounded(archive)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r:", errors="backslashreplace") as tar:
            for member in tar:
                reader.begin_file()
                if not member.isdir():
                    yield _tar_member(archive, member)
            end = tar.offset
    except _TAR_DAMAGE as error:
        yield InputError(archive.path, f"expected a tar archive to its end, found damage: {error}")
        return
    if reader.tell() > archive.size:
        yield InputError(archive.path, "expected a tar archive to its end, found that it is cut off")
    elif archive.read_at(end, tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes it for the end
        yield InputError(archive.path, "expected the header of a file or the end of the tar, found damage", where=end)


def _tar_member(archive: Source, member: tarfile.TarInfo) -> Source | InputError:
    title = f"{archive.path}:{member.name}"
    if not member.isreg():
        return UnknownFormatError(title, "expected a file, found a link or a device")
    if member.sparse is not None:
        return InputError(title, "expected the whole file, found a sparse one", hint="make the archive without -S")
    if member.offset_data + member.size > archive.size:
        found = max(archive.size - member.offset_data, 0)
        return InputError(title, f"expected {member.size:,} bytes, found the archive's end behind {found:,}")
    try:
        return content(archive.piece(member.name, member.offset_data, member.size))
    except InputError as error:
        return error


def _zip(archive: Source) -> Iterator[Source | InputError]:
    try:
        with zipfile.ZipFile(archive.stream()) as packed:
            for member in packed.infolist():
                if not member.is_dir():
                    yield _zip_member(archive, packed, member)
    except _ZIP_DAMAGE as error:
        yield InputError(archive.path, f"expected a zip archive to its end, found damage: {error}")


def _zip_member(archive: Source, packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> Source | InputError:
    title = f"{archive.path}:{member.filename}"
    allowance = archive.allowance
    if not allowance.take(member.file_size):  # zipfile unpacks no more than that
        return allowance.exceeded(title, "zip", sum(each.file_size for each in packed.infolist()))
    try:
        with packed.open(member) as stream:
            file = copied(stream, title, "zip")
    except InputError as error:
        return error
    except _ZIP_DAMAGE as error:
        return InputError(title, f"expected a file of a zip archive, found damage: {error}")
    source = Source(title, file, archive.options, allowance=allowance)
    source.name = f"{archive.name}:{member.filename}"
    try:
        return content(source)
    except InputError as error:
        return error


class _Bounded:
    """An archive as tarfile reads it: headers only, of each file a few that are not large."""

    def __init__(self, archive: Source) -> None:
        self._archive = archive
        self._position = 0
        self.begin_file()

    def begin_file(self) -> None:
        """Expect the headers of a file."""
        self._reads = 0
        self._room = _LARGEST_HEADER

    def read(self, length: int) -> bytes:
        if not 0 <= length <= self._room:
            raise tarfile.ReadError(f"headers of more than {_LARGEST_HEADER:,} bytes for one file")
        if self._reads == _HEADER_READS:
            raise tarfile.ReadError("too many headers for one file")
        self._room -= length
        self._reads += 1
        piece = self._archive.read_at(self._position, length)
        self._position += len(piece)
        return piece

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or position < 0:
            raise tarfile.ReadError("a place before the archive's begin")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position
