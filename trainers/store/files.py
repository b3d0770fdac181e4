"""Plain files that survive crashes and full disks, on NFS and Lustre too: written whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class StoreError(RuntimeError):
    """The store cannot do what was asked; the message says what a person can do."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever a writer raises inside (safetensors and polars have their own types) becomes one clear error.

    Raises:
        StoreError: the disk is full, read-only or broken.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"cannot write {path}: {reason}. Free space or choose another store.") from error


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text`: a reader sees the old or the new file, also after a crash or a full disk.

    Raises:
        StoreError: the disk is full or read-only.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with writing(path):
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def create(path: Path, text: str) -> bool:
    """Write a new file whole; False where another process was first.

    It is written under another name and linked into place, which is atomic on NFS, too.

    Raises:
        StoreError: the disk is full or read-only.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    write_atomically(temporary, text)
    with writing(path):
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
    return True


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, as_json(value))


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of an append-only file; a line torn by a crash is passed over."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                continue
