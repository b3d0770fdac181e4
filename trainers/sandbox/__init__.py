"""Write the sandbox: a miniature XTREME with the hub's own layout and schemas, from a seed, in seconds.

    python -c "from pathlib import Path; from trainers.sandbox import write_mirror; write_mirror(Path('mirror'))"

The files say what the hub's say (column names, types, label names), so nothing downstream knows that it is a sandbox.
Scores on it are not benchmark results: its language is a small grammar over real words.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from trainers.sandbox.pairs import inference_files, more_inference_files, paraphrase_files, question_pair_files
from trainers.sandbox.questions import choice_files, more_span_files, span_files
from trainers.sandbox.schemas import schemas
from trainers.sandbox.sentences import mining_files, retrieval_files, tagging_files, text_files

VERSION = 4  # of the generator: a mirror that another version wrote is rebuilt
SEED = 13
DATA_SETS = (
    inference_files,
    more_inference_files,
    question_pair_files,
    paraphrase_files,
    span_files,
    more_span_files,
    choice_files,
    tagging_files,
    retrieval_files,
    mining_files,
    text_files,
)


def _write_files(folder: Path, seed: int) -> None:
    import pyarrow
    import pyarrow.parquet

    # The features' schema carries the hub's description of them as parquet metadata.
    arrow_schemas = {name: features.arrow_schema for name, features in schemas().items()}
    for make_files in DATA_SETS:
        for schema, path, rows in make_files(seed):
            file = folder / f"{path}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=arrow_schemas[schema]), file)
    (folder / "sandbox.json").write_text(json.dumps({"seed": seed, "version": VERSION}) + "\n")


def _is_current(folder: Path, seed: int) -> bool:
    note = folder / "sandbox.json"
    return note.is_file() and json.loads(note.read_text()) == {"seed": seed, "version": VERSION}


def write_mirror(folder: Path, seed: int = SEED) -> None:
    """Write the sandbox's mirror to `folder/<hub id>/<config>/<split>.parquet`.

    The folder appears whole or not at all.  A current mirror is left as it is; one of another seed or version is
    replaced.

    Raises:
        ValueError: `folder` holds something that is not a sandbox mirror; nothing is touched then.
    """
    if _is_current(folder, seed):
        return
    if folder.exists() and any(folder.iterdir()) and not (folder / "sandbox.json").is_file():
        raise ValueError(
            f"{folder} is not empty and holds no sandbox.json, so it is not a sandbox mirror and will not be "
            "replaced. Name an empty or a new folder for the sandbox."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as staging:
        new = Path(staging) / "new"
        _write_files(new, seed)
        try:
            if folder.exists():
                folder.rename(Path(staging) / "old")
            new.rename(folder)
        except OSError:
            if not _is_current(folder, seed):  # else another process has just put the same mirror there
                raise
