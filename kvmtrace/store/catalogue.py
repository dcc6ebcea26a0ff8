"""Lists the runs of a store, and finds the run that a user means."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.store.label import Label, read_label, write_label
from kvmtrace.store.manifest import RUN_PREFIX, read_manifest, run_folder, runs_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmtrace.store.manifest import Manifest

TEMPORARY = "tmp"
"""Folder of a store for runs that are not yet, or no longer, whole."""

_LISTED = 8


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from walking over the manifests of thousands of runs again and again as they come.

    It would take a third of the time, and find nothing: they hold no circles.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Catalogue:
    """The runs of a store as they were when first asked for.

    A run whose manifest cannot be read is left out and told in `warnings`; the others stay readable.
    """

    def __init__(self, store: Path) -> None:
        """StoreError: there is no store at `store`, or nobody may read it."""
        self.store = Path(os.path.realpath(store))
        try:
            is_store = runs_folder(self.store).is_dir()
        except OSError as error:
            raise _unreadable(self.store, error) from None
        if not is_store:
            raise StoreError(
                f"no store at {store}",
                hint="`kvmtrace ingest FILE` makes one; --store or $KVMTRACE_STORE names another",
            )

    def manifests(self) -> list[Manifest]:
        """Return the manifests of the readable runs, in the order of ingestion (newest last)."""
        return list(self._readable.values())

    @property
    def warnings(self) -> list[str]:
        """Say which runs cannot be read, and why: one plain line each."""
        labels = [f"{error.message}; the run is shown without its label" for error in self._labels[1]]
        return [f"{error.message}; the run is left out" for error in self.unreadable.values()] + labels

    @property
    def unreadable(self) -> dict[str, StoreError]:
        """Return why runs cannot be read, by run id."""
        return self._runs[1]

    def manifest(self, run_id: str) -> Manifest:
        """Return the manifest of one readable run. KeyError: there is none."""
        return self._readable[run_id]

    def latest(self) -> Manifest:
        """Return the run that was ingested last. UsageError: there is none."""
        if not self._readable:
            raise UsageError(f"the store {self.store} holds no runs", hint="`kvmtrace ingest FILE` adds one")
        return self.manifests()[-1]

    def resolve(self, text: str) -> Manifest:
        """Return the run that `text` means: its id or the beginning of it, its label, or its source.

        UsageError: several runs or none. StoreError: the run cannot be read.
        """
        run_id = self.find(text)
        if run_id in self.unreadable:
            raise self.unreadable[run_id]
        return self._readable[run_id]

    def tagged(self, text: str) -> list[Manifest]:
        """Return the runs that have the tag KEY=VALUE; none where `text` is no such thing, or no run has it."""
        key, equals, value = text.partition("=")
        return [m for m in self.manifests() if self.label(m.run_id).tags.get(key) == value] if equals else []

    def find(self, text: str) -> str:
        """Return the id of the run that `text` means, of one that cannot be read too. UsageError: several or none."""
        run_ids = [*self._readable, *self.unreadable]
        if text in run_ids:
            return text
        found = [m.run_id for m in self.manifests() if text in self._names(m)]
        found = found or [run_id for run_id in run_ids if text and run_id.startswith(text)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"{text!r} means {len(found)} runs: {self._describe(found)}", hint="give more of the id")
        raise UsageError(f"no run is called {text!r}", hint=self._nearest(text))

    def label(self, run_id: str) -> Label:
        """Return the label and tags of a run; empty ones where it has none, or where they cannot be read."""
        return self._labels[0].get(run_id, Label())

    def set_label(self, run_id: str, label: Label) -> None:
        """Give a run a label and tags instead of those that it has. StoreError: they cannot be written."""
        write_label(self._folder(run_id), label)
        self._forget()

    def remove(self, run_id: str) -> None:
        """Remove a run, which readers see whole or not at all. StoreError: it cannot be removed."""
        folder = self._folder(run_id)
        aside = self.store / TEMPORARY / f"removed-{run_id}-{secrets.token_hex(4)}"
        try:
            aside.parent.mkdir(exist_ok=True)
            folder.rename(aside)
            shutil.rmtree(aside)
        except OSError as error:
            raise StoreError(f"run {run_id} cannot be removed: {error.strerror}: {error.filename}") from None
        self._forget()

    def _folder(self, run_id: str) -> Path:
        if run_id not in self._readable and run_id not in self.unreadable:
            raise UsageError(f"no run has the id {run_id!r}")
        return run_folder(self.store, run_id)

    def _forget(self) -> None:
        for name in ("_runs", "_labels"):
            self.__dict__.pop(name, None)

    @property
    def _readable(self) -> dict[str, Manifest]:
        return self._runs[0]

    @cached_property
    def _runs(self) -> tuple[dict[str, Manifest], dict[str, StoreError]]:
        with _collector_paused():
            return self._read_runs()

    def _read_runs(self) -> tuple[dict[str, Manifest], dict[str, StoreError]]:
        readable, unreadable = [], {}
        try:
            folders = sorted(runs_folder(self.store).iterdir())
        except OSError as error:
            raise _unreadable(self.store, error) from None
        for folder in folders:
            if not folder.name.startswith(RUN_PREFIX):
                continue
            run_id = folder.name.removeprefix(RUN_PREFIX)
            try:
                manifest = read_manifest(folder)
                if manifest.run_id != run_id:
                    raise StoreError(f"{folder}: expected the run {run_id}, found the manifest of {manifest.run_id}")  # noqa: TRY301 - one more way for a run to be unreadable
                readable.append(manifest)
            except StoreError as error:
                if folder.exists():  # else it was removed since the folder was listed
                    unreadable[run_id] = error
        readable.sort(key=lambda m: (m.ingested_at, m.run_id))
        return {m.run_id: m for m in readable}, unreadable

    @cached_property
    def _labels(self) -> tuple[dict[str, Label], list[StoreError]]:
        labels, errors = {}, []
        for run_id in self._readable:
            try:
                labels[run_id] = read_label(run_folder(self.store, run_id))
            except StoreError as error:
                errors.append(error)
        return labels, errors

    def _names(self, manifest: Manifest) -> set[str | None]:
        source = manifest.source
        return {self.label(manifest.run_id).label, source.title, source.name, source.part_label}

    def _describe(self, run_ids: Iterable[str]) -> str:
        described = [f"{run_id} ({self._title(run_id)})" for run_id in run_ids]
        more = len(described) - _LISTED
        return ", ".join(described[:_LISTED]) + (f" and {more} more" if more > 0 else "")

    def _title(self, run_id: str) -> str:
        if run_id in self.unreadable:
            return "unreadable"
        parts = (self.label(run_id).label, self._readable[run_id].source.title)
        return ", ".join(part for part in parts if part)

    def _nearest(self, text: str) -> str:
        by_name: dict[str, list[str]] = {}
        for manifest in self.manifests():
            for name in (manifest.run_id, *self._names(manifest)):
                by_name.setdefault(name or "", []).append(manifest.run_id)
        near = get_close_matches(text, [name for name in by_name if name], n=3, cutoff=0.5)
        run_ids = dict.fromkeys(run_id for name in near for run_id in by_name[name])
        return f"nearest: {self._describe(run_ids)}" if run_ids else "`kvmtrace runs` lists the runs"


def _unreadable(store: Path, error: OSError) -> StoreError:
    return StoreError(f"the store {store} cannot be read: {error.strerror}")
