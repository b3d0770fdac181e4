"""The hub, as far as filling a mirror needs it: which files are a split, and their bytes, checked.

Every download is resumed where it was cut, also by a later process (`huggingface_hub` starts a file anew then, and the
shards of XXL are large).  What is used of it is public: listing, addresses, its session, the headers with the token.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

Kind = Literal["dataset", "model"]
CONVERTED = "refs/convert/parquet"
"""The branch on which the hub keeps its own parquet conversion of data sets in other formats."""
TRIES = 5
PAUSE_S = 0.5
TIMEOUT_S = 30


class HubError(RuntimeError):
    """One thing that the hub does not have or does not give; the message says what a person can do."""


class HubUnreachable(HubError):
    """The hub does not answer at all."""


def sha256_of(path: Path) -> str:
    """Checksum of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository at one commit."""

    repo: str
    kind: Kind
    commit: str
    path: str
    size: int
    sha256: str | None
    """Of files in large-file storage."""
    blob: str | None
    """git's own hash, of all other files."""

    def matches(self, path: Path) -> bool:
        """Whether a local file has this content."""
        if self.sha256:
            return sha256_of(path) == self.sha256
        content = path.read_bytes()
        return self.blob in (None, hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())


@dataclass(frozen=True)
class Repository:
    """What a repository holds at one commit."""

    name: str
    commit: str
    files: dict[str, RemoteFile]
    configs: list[dict[str, Any]]
    """The `configs:` of the data set's card, which name the files of each split; often empty."""

    def shards(self, config: str, split: str) -> tuple[RemoteFile, ...]:
        """The parquet files of a split, in order; none where the repository does not hold it as parquet.

        The card's own mapping comes first, then the layouts of the hub: `<config>/<split>-00000-of-00002.parquet`,
        `data/…` and the top folder for a config `default`, and the conversion's `<config>/<split>/0000.parquet`.

        Raises:
            HubError: some of the shards are missing.
        """
        for pattern in _patterns(self.configs, config, split):
            if paths := sorted(path for path in self.files if path.endswith(".parquet") and fnmatch(path, pattern)):
                return self._whole(paths)
        folders = [config, *(("data", "") if config == "default" else ())]
        for folder in folders:
            start = re.escape(f"{folder}/{split}" if folder else split)
            shape = re.compile(rf"{start}(-\d+-of-\d+(-[0-9a-f]+)?|/\d{{4}})?\.parquet")
            if paths := sorted(path for path in self.files if shape.fullmatch(path)):
                return self._whole(paths)
        return ()

    def _whole(self, paths: list[str]) -> tuple[RemoteFile, ...]:
        count = re.search(r"-of-(\d+)", paths[0])
        if count and int(count[1]) != len(paths):
            raise HubError(f"{self.name}: {paths[0]} announces {int(count[1])} shards, but {len(paths)} are there")
        return tuple(self.files[path] for path in paths)

    def partial(self, config: str, split: str) -> bool:
        """Whether the hub has converted only the beginning of the split."""
        return any(path.startswith(f"{config}/partial-{split}/") for path in self.files)


def _patterns(configs: list[dict[str, Any]], config: str, split: str) -> list[str]:
    """File patterns that a card gives for a split."""
    patterns: list[str] = []
    for entry in configs:
        listed = entry.get("data_files")
        if entry.get("config_name") == config and isinstance(listed, list):
            for item in listed:
                if isinstance(item, dict) and item.get("split") == split:
                    path = item.get("path", [])
                    patterns += [path] if isinstance(path, str) else list(path)
    return patterns


def list_repository(name: str, kind: Kind, revision: str | None) -> Repository:
    """Resolve a revision to its commit and list its files.

    Raises:
        HubUnreachable, HubError: no answer; no such repository or revision; no access to it.
    """
    from huggingface_hub import HfApi

    with _in_words(name, kind, revision):
        info: Any = HfApi().repo_info(name, repo_type=kind, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
    files = {
        sibling.rfilename: RemoteFile(
            name,
            kind,
            info.sha,
            sibling.rfilename,
            sibling.size or 0,
            sibling.lfs.sha256 if sibling.lfs else None,
            sibling.blob_id,
        )
        for sibling in info.siblings or ()
    }
    card = info.card_data.to_dict() if info.card_data else {}
    return Repository(
        name, info.sha, files, [config for config in card.get("configs") or [] if isinstance(config, dict)]
    )


def download(remote: RemoteFile, target: Path, advance: Callable[[int], object]) -> None:
    """Bring one file; `target` appears when it is whole and its checksum is right.

    Args:
        advance: told how many more bytes are there, at first those of an earlier attempt.

    Raises:
        HubUnreachable, HubError: cuts that do not heal; no access, or other content than announced.
        OSError: the disk is full or not writable.
    """
    part = _part(target)
    part.parent.mkdir(parents=True, exist_ok=True)
    advance(remote.size if target.is_file() else _bytes(part))
    tries = TRIES
    while not target.is_file() and _bytes(part) < remote.size:
        had, reason = _bytes(part), "the transfer ended early"
        try:
            with _in_words(remote.repo, remote.kind, remote.commit):
                _stream(remote, part, advance)
        except HubUnreachable as error:
            reason = str(error)
        if _bytes(part) < remote.size:
            tries = TRIES if _bytes(part) > had else tries - 1
            if not tries:
                raise HubUnreachable(f"{remote.path} broke off at {_bytes(part):,} of {remote.size:,} bytes: {reason}")
            time.sleep(PAUSE_S * 2 ** (TRIES - tries))
    if not target.is_file():
        if not remote.size:
            part.touch()
        if _bytes(part) != remote.size or not remote.matches(part):
            part.unlink()
            raise HubError(
                f"{remote.repo}: {remote.path} came with another checksum than the hub announces; run it again"
            )
        os.replace(part, target)


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def partial_bytes(target: Path) -> int:
    """How much of a download an earlier attempt has left."""
    return _bytes(_part(target))


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _stream(remote: RemoteFile, part: Path, advance: Callable[[int], object]) -> None:
    """Append what is missing, or all of it where the server knows no ranges."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(remote.repo, remote.path, repo_type=remote.kind, revision=remote.commit)
    had = _bytes(part)
    # `identity`: a compressed transfer has other byte positions.  The session drops the token where the hub redirects
    # to another host.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity", **({"Range": f"bytes={had}-"} if had else {})}
    with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S) as response:
        if response.status_code >= 400:
            response.read()
        hf_raise_for_status(response)
        goes_on = response.status_code == 206
        if not goes_on:
            advance(-had)
        with part.open("ab" if goes_on else "wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                advance(len(chunk))
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def _in_words(repo: str, kind: Kind, revision: str | None) -> Iterator[None]:
    """What the hub refuses becomes a sentence (without addresses: they may be signed)."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    try:
        yield
    except OfflineModeIsEnabled:
        raise HubUnreachable("HF_HUB_OFFLINE is set here: unset it to fetch (jobs set it for themselves)") from None
    except GatedRepoError:
        raise HubError(
            f"{repo}: access is granted on request only; ask for it at {page}, then `hf auth login` (or HF_TOKEN) here"
        ) from None
    except RevisionNotFoundError:
        raise HubError(f"{repo}: has no revision {revision}") from None
    except RepositoryNotFoundError:
        raise HubError(
            f"{repo}: the hub has no such {kind}, or it is private and this machine is not logged in to it "
            "(`hf auth login`, or HF_TOKEN)"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise HubError(f"{repo}: the hub refuses access ({status}); is the token that is used valid?") from None
        if status >= 500 or status in (408, 429):
            raise HubUnreachable(f"{constants.ENDPOINT} answers {status} for {repo}: try again later") from None
        raise HubError(f"{repo}: the hub answers {status}") from None
    except HTTPError as error:
        reason = str(error) or type(error).__name__
        raise HubUnreachable(f"cannot reach {constants.ENDPOINT}: {reason}") from None


def join(shards: list[Path], target: Path) -> int:
    """Make one parquet file of a split's shards, row group by row group; `target` appears whole.

    The metadata of the first (under `huggingface` the class names) is kept; a single one is renamed as it is.

    Returns:
        The number of rows.

    Raises:
        pa.ArrowInvalid: a shard is no parquet file, or has other columns than the first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if len(shards) == 1:
        rows = pq.read_metadata(shards[0]).num_rows
        os.replace(shards[0], target)
        return rows
    part = target.with_name(f".{target.name}.part")
    schema = pq.read_schema(shards[0])
    rows = 0
    try:
        with pq.ParquetWriter(part, schema) as writer:
            for shard in shards:
                with pq.ParquetFile(shard) as file:
                    for group in range(file.num_row_groups):
                        table = file.read_row_group(group).cast(schema)
                        writer.write_table(table)
                        rows += table.num_rows
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    for shard in shards:
        shard.unlink()
    return rows
