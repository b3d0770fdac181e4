"""Read W&B's offline files (`run-<id>.wandb`) without a server.

A file is a LevelDB log behind a 7-byte W&B header: blocks of 32 KiB hold chunks of `crc32 · length · type · data`,
and one record (a protocol buffer) is one whole chunk or a first, several middle and a last one.  W&B itself has no
public reader any more (stack notes: `wandb.sdk.internal.datastore` is gone since 0.31).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.records.wandb_api import Fragment

FILE_HEADER = struct.Struct("<4sHB")
IDENT, MAGIC = b":W&B", 0xBEE1
CHUNK_HEADER = struct.Struct("<IHB")
BLOCK_BYTES = 32 * 1024
PADDING, WHOLE, FIRST, MIDDLE, LAST = range(5)


def payloads(path: Path) -> Iterator[bytes]:
    """The serialised records of a file; one cut short at the end (a killed process) is left out.

    Raises:
        ValueError: not a W&B file, or damaged before its end.
    """
    data = path.read_bytes()
    if data[: FILE_HEADER.size] != FILE_HEADER.pack(IDENT, MAGIC, data[6] if len(data) > 6 else 0):
        if FILE_HEADER.pack(IDENT, MAGIC, 0).startswith(data):
            return  # killed while it wrote the header
        raise ValueError(f"{path} is not a W&B offline file: it begins with {data[: FILE_HEADER.size]!r}")
    place, parts = FILE_HEADER.size, list[bytes]()
    while place + CHUNK_HEADER.size <= len(data):
        left_in_block = BLOCK_BYTES - place % BLOCK_BYTES
        if left_in_block < CHUNK_HEADER.size:
            place += left_in_block
            continue
        crc, length, kind = CHUNK_HEADER.unpack_from(data, place)
        if kind == PADDING and length == 0:
            place += left_in_block
            continue
        chunk = data[place + CHUNK_HEADER.size : place + CHUNK_HEADER.size + length]
        if len(chunk) < length:
            return
        if zlib.crc32(chunk, zlib.crc32(bytes([kind]))) != crc:
            raise ValueError(
                f"{path} is damaged: wrong checksum at byte {place} of {len(data)}. "
                "Move it away; the store still has every measurement"
            )
        place += CHUNK_HEADER.size + length
        if kind not in (WHOLE, FIRST, MIDDLE, LAST) or (kind in (MIDDLE, LAST)) != bool(parts):
            raise ValueError(f"{path} is damaged: a record at byte {place} has no beginning or no end")
        parts.append(chunk)
        if kind in (WHOLE, LAST):
            yield b"".join(parts)
            parts = []


def read_fragment(path: Path) -> Fragment:
    """Everything that one file says of its run.

    Raises:
        ValueError: see `payloads`; or a record that this W&B client cannot read.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto import wandb_internal_pb2

    fragment = Fragment()
    for payload in payloads(path):
        try:
            _add(fragment, wandb_internal_pb2.Record.FromString(payload))  # type: ignore[attr-defined]
        except DecodeError as error:
            raise ValueError(f"{path} holds a record that the installed wandb cannot read: {error}") from error
    return fragment


def read_runs(folder: Path) -> dict[str, list[Fragment]]:
    """The runs under W&B's folder: id → fragments in the order in which they were started.

    Raises:
        ValueError: see `read_fragment`.
    """
    runs: dict[str, list[Fragment]] = {}
    for path in sorted(folder.glob("offline-run-*/run-*.wandb")):
        fragment = read_fragment(path)
        if fragment.run_id:  # a client killed at its start has left an empty file
            runs.setdefault(fragment.run_id, []).append(fragment)
    return {
        run_id: sorted(fragments, key=lambda fragment: fragment.started) for run_id, fragments in sorted(runs.items())
    }


def _add(fragment: Fragment, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        fragment.run_id = record.run.run_id
        fragment.started = record.run.start_time.seconds + record.run.start_time.nanos / 1e9
        fragment.config.update(_values(record.run.config.update))
    elif kind == "config":
        fragment.config.update(_values(record.config.update))
    elif kind == "history":
        fragment.history.append(_values(record.history.item))
    elif kind == "summary":
        fragment.summary.update(_values(record.summary.update))


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
