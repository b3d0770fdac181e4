"""`retain fetch`: bring what a sweep reads from the hub into its mirror, on a machine with a network, once.

    <mirror>/<hub id>/<config>/<split>.parquet     a split, its shards joined
    <mirror>/<hub id>/config.json …                an encoder
    <mirror>/fetched.json                          repository → commit; file → sha256, rows, and what it was made of
    <mirror>/.fetch/<commit>/…                     downloads under way; a cut one goes on from there
    <mirror>/.fetch/claims/                        whose turn it is

Repositories are pinned to the commit of their first fetch, so that a sweep reads the same rows for ever.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from launch.lock import exclusive
from launch.mirror.hub import (
    CONVERTED,
    HubError,
    HubUnreachable,
    Kind,
    RemoteFile,
    Repository,
    download,
    join,
    list_repository,
    partial_bytes,
)
from launch.mirror.manifest import Ledger
from launch.mirror.needed import BRING, CONFIG, Split, encoder_files, needed_encoders, needed_splits
from launch.study.published_rows import published_rows
from launch.study.sweep import Sweep, SweepError
from trainers.stage.scales import Shape
from trainers.store.claims import Claim, ClaimLost

STAGING = ".fetch"
CLAIMS = f"{STAGING}/claims"


@dataclass(frozen=True)
class Job:
    """One split or one encoder to bring."""

    repository: Repository
    remotes: tuple[RemoteFile, ...]
    split: Split | None = None
    """None: the files are an encoder's."""

    @property
    def name(self) -> str:
        return self.split.path if self.split else self.repository.name

    @property
    def bytes(self) -> int:
        return sum(remote.size for remote in self.remotes)


def fetch(sweep: Sweep, console: Console, again: bool = False, revisions: dict[str, str] | None = None) -> list[str]:
    """Bring what is missing; what is there and unchanged costs no network.

    Args:
        again: replace files that have changed since they were fetched, and those that came by other ways.
        revisions: branch, tag, commit or `refs/pr/N` by repository; the default is what is pinned, then `main`.

    Returns:
        What could not be brought, as sentences; everything else is there.
    """
    if sweep.mirror is None:
        raise SweepError(
            "mirror: this sweep uses the embedded sandbox, which needs nothing from the hub; to fetch data, "
            "give a folder with `mirror:` or --mirror"
        )
    splits, encoders = needed_splits(sweep), needed_encoders(sweep)
    try:
        say = partial(console.print, soft_wrap=True, markup=False)
        with exclusive(sweep.mirror / CLAIMS, "retain fetch", say) as claim:
            ledger = Ledger.read(sweep.mirror)  # as whoever had the turn before has left it
            return _Fetch(sweep.mirror, ledger, claim, console, again, revisions or {}).all_of(splits, encoders)
    except OSError as error:
        return [_cannot_write(sweep.mirror, error)]


def _cannot_write(root: Path, error: OSError) -> str:
    return f"cannot write to {root}: {error.strerror or error}; the same command resumes"


@dataclass
class _Fetch:
    root: Path
    ledger: Ledger
    claim: Claim
    console: Console
    again: bool
    revisions: dict[str, str]
    problems: list[str] = field(default_factory=list)
    kept: int = 0
    listed: dict[tuple[str, str | None], Repository | HubError] = field(default_factory=dict)

    def all_of(self, splits: list[Split], encoders: list[str]) -> list[str]:
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._to_bring([split for split in splits if split.source])
        done = 0
        try:
            with progress:
                jobs = self._jobs([split for split in splits if not split.source], encoders, progress)
                done = self._run(jobs, progress)
        except HubUnreachable as error:
            self.problems.append(f"{error}; what was fetched stays, the same command resumes")
        except OSError as error:
            self.problems.append(_cannot_write(self.root, error))
        except ClaimLost:
            self.problems.append("another `retain fetch` has taken over this mirror; this one stops")
        except KeyboardInterrupt:
            self.problems.append("interrupted; the same command resumes")
        self._say(f"mirror   {self.root}: {done} fetched, {self.kept} there already")
        return self.problems

    def _say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, markup=False)

    def _to_bring(self, splits: list[Split]) -> None:
        """What is not on the hub and not there, all of one source in one sentence."""
        for source, how in BRING.items():
            missing = [split.path for split in splits if split.source == source]
            missing = [path for path in missing if not (self.root / path).is_file()]
            if missing:
                self.problems.append(
                    f"{source} is not on the hub, supply it yourself: {how}. {self.root} lacks {', '.join(missing)}"
                )

    def _jobs(self, splits: list[Split], encoders: list[str], progress: Progress) -> list[Job]:
        """What has to be fetched; everything wrong with the rest becomes a problem."""
        task = progress.add_task("looking at what is there", total=None)
        jobs = [self._attempt(self._split_job, split) for split in splits]
        jobs += [self._attempt(self._encoder_job, name) for name in encoders]
        progress.remove_task(task)
        return [job for job in jobs if job is not None]

    def _attempt(self, do: Callable[[Any], Any], what: Any) -> Any:
        """What `do` returns; what goes wrong with this one thing is kept as a problem."""
        try:
            return do(what)
        except HubUnreachable:
            raise
        except HubError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
            return None

    def _held(self, repository: str, kind: Kind, paths: list[str]) -> bool:
        """Whether these files are there and unchanged.

        Raises:
            HubError: they have changed, and nobody said `again`.
        """
        recorded = self.ledger.files(repository)
        if not all((self.root / path).is_file() for path in paths):
            return False
        if any(path not in recorded for path in paths):
            if self.again:
                return False
            self._say(f"kept     {paths[0]}: not fetched by this command (--again replaces it)")
        elif repository in self.revisions and {recorded[path]["commit"] for path in paths} != {
            self._pinned(repository, kind).commit
        }:
            return False
        elif changed := [path for path in paths if not self.ledger.intact(repository, path)]:
            if self.again:
                return False
            raise HubError(f"{', '.join(changed)}: changed since it was fetched; --again fetches it again")
        self.kept += 1
        return True

    def _split_job(self, split: Split) -> Job | None:
        if self._held(split.dataset, "dataset", [split.path]):
            return None
        repository = self._pinned(split.dataset, "dataset")
        if shards := repository.shards(split.config, split.split):
            return Job(repository, shards, split)
        what = f"{split.dataset}: no parquet for the split {split.split!r} of {split.config!r}"
        try:
            converted = self._list(split.dataset, "dataset", CONVERTED)
        except HubUnreachable:
            raise
        except HubError:
            raise HubError(f"{what} at {repository.commit}, and the hub has not converted it ({CONVERTED})") from None
        if shards := converted.shards(split.config, split.split):
            return Job(repository, shards, split)
        if converted.partial(split.config, split.split):
            raise HubError(f"{what}: the hub has converted only its beginning ({CONVERTED})")
        raise HubError(f"{what} at {repository.commit}, nor in the hub's conversion ({CONVERTED})")

    def _encoder_job(self, name: str) -> Job | None:
        if self._held(name, "model", sorted({*self.ledger.files(name), f"{name}/{CONFIG}"})):
            return None
        repository = self._pinned(name, "model")
        paths = encoder_files(repository)
        config = self._stage(repository.files[CONFIG])
        download(repository.files[CONFIG], config, lambda _: None)
        try:
            Shape.from_config(json.loads(config.read_text(encoding="utf-8")))
        except (ValueError, KeyError) as error:
            config.unlink()
            raise HubError(f"{name} at {repository.commit}: {CONFIG}: {error}") from None
        paths = [path for path in paths if not self._there(repository, f"{name}/{path}")] or [CONFIG]
        if CONFIG not in paths:
            config.unlink()
        # The configuration last: it is what an encoder is recognised by.
        return Job(repository, tuple(repository.files[path] for path in sorted(paths, key=lambda path: path == CONFIG)))

    def _there(self, repository: Repository, path: str) -> bool:
        """Whether one file of an encoder is as it is at this commit."""
        facts = self.ledger.files(repository.name).get(path, {})
        return facts.get("commit") == repository.commit and self.ledger.intact(repository.name, path)

    def _pinned(self, name: str, kind: Kind) -> Repository:
        """The repository at the wanted revision, else at the commit of its first fetch, else at `main`."""
        pinned = self.ledger.commit(name)
        repository = self._list(name, kind, self.revisions.get(name, pinned))
        if pinned not in (None, repository.commit) and not self.again:
            raise HubError(
                f"{name}: the mirror holds commit {pinned}, and --revision asks for {repository.commit}: --again "
                "fetches what the sweep needs at that one"
            )
        return repository

    def _list(self, name: str, kind: Kind, revision: str | None) -> Repository:
        """Ask once a repository and revision; a refusal is remembered too."""
        if (name, revision) not in self.listed:
            try:
                self.listed[name, revision] = list_repository(name, kind, revision)
            except HubUnreachable:
                raise
            except HubError as error:
                self.listed[name, revision] = error
        answer = self.listed[name, revision]
        if isinstance(answer, HubError):
            raise answer
        return answer

    def _stage(self, remote: RemoteFile) -> Path:
        """Where a download waits until all that belongs to it is there."""
        return self.root / STAGING / remote.commit / remote.path

    def _staged(self, remote: RemoteFile) -> int:
        whole = self._stage(remote)
        return remote.size if whole.is_file() else partial_bytes(whole)

    def _run(self, jobs: list[Job], progress: Progress) -> int:
        """Bring every job; those that fail leave the others alone.

        Returns:
            How many were brought.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        coming = sum(max(0, remote.size - self._staged(remote)) for job in jobs for remote in job.remotes)
        coming += max((job.bytes for job in jobs if job.split and len(job.remotes) > 1), default=0)  # to join them
        free = shutil.disk_usage(self.root).free
        if coming > free:
            raise OSError(f"{coming / 2**30:.2f} GiB are needed, but only {free / 2**30:.2f} GiB are free")
        task = progress.add_task("", total=sum(job.bytes for job in jobs))

        def advance(count: int) -> None:
            self.claim.beat()
            progress.advance(task, count)

        bring, done = partial(self._bring, advance=advance), 0
        for job in jobs:
            progress.update(task, description=job.name)
            done += self._attempt(bring, job) or 0
        for folder, _, _ in os.walk(self.root / STAGING, topdown=False):
            with suppress(OSError):  # what is under way stays
                os.rmdir(folder)
        return done

    def _bring(self, job: Job, advance: Callable[[int], object]) -> int:
        """Download all that belongs to one job, then put it into its place."""
        staged = [self._stage(remote) for remote in job.remotes]
        for remote, path in zip(job.remotes, staged, strict=True):
            download(remote, path, advance)
        self.claim.check()
        if job.split is None:
            for remote, path in zip(job.remotes, staged, strict=True):
                target = self.root / job.repository.name / remote.path
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
                self.ledger.record(job.repository, f"{job.repository.name}/{remote.path}", (remote,), None)
            self._say(f"fetched  {job.name}  {len(staged)} files, {job.bytes / 1e6:,.1f} MB")
            return 1
        try:
            rows = join(staged, self.root / job.split.path)
        except (pa.ArrowException, ValueError) as error:
            raise HubError(f"{job.name}: {error}") from None
        self.ledger.record(job.repository, job.split.path, job.remotes, rows)
        published = published_rows(job.split.dataset, job.split.config, job.split.split)
        expected = f" ({published:,} are published)" if published not in (None, rows) else ""
        self._say(f"fetched  {job.name}  {rows:,} rows{expected}, {job.bytes / 1e6:,.1f} MB")
        return 1
