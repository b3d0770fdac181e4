"""What a sweep reads that is not in the package: splits of data sets, and encoders.  No network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from launch.mirror.hub import HubError, Repository
from launch.study.plan import make_plan
from launch.study.sweep import Sweep, SweepError
from trainers.data.mirror import Mirror
from trainers.data.stagedata import needed_files
from trainers.stage.scales import KNOWN, SANDBOX

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
ENCODER_FILES = (
    CONFIG,
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "sentencepiece.bpe.model",
    "*.safetensors",
    "*.safetensors.index.json",
)
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
BRING = {
    "bucc2018": (
        "the shared task's own files, from comparable.limsi.fr/bucc2018: `<xx>-en.sample.*` as dev, "
        "`<xx>-en.training.*` as test; sentences as parquet with the columns id, sentence, `gold` with "
        "source_id, target_id"
    ),
    "ccgbank": (
        "CCGbank is licensed (LDC2005T13): sections 02-21 as train, 00 as validation; columns tokens, tags (lists of "
        "words and of supertags), one row a sentence"
    ),
    "text": (
        "raw text for language modelling, one file for each of the sweep's `languages:`, or without them of XTREME's "
        "40; the column text, one line a row"
    ),
    "translated": "machine-translated training rows: the columns of the task's own training set, row by row",
}
"""Data sets that are not on the hub: what to bring, and in which form."""


@dataclass(frozen=True)
class Split:
    """One split of a data set, as the mirror lays it out."""

    dataset: str
    config: str
    split: str

    @property
    def path(self) -> str:
        return str(PurePosixPath(self.dataset, self.config, f"{self.split}.parquet"))

    @property
    def source(self) -> str:
        """What `BRING` knows it by; empty where it is on the hub."""
        first = self.dataset.split("/")[0]
        return first if first in BRING else ""


def needed_splits(sweep: Sweep) -> list[Split]:
    """Every split that some stage reads; the same for all scales, seeds and points, and whatever the mirror holds."""
    empty = sweep.store / "no-mirror"
    smallest = {"scales": SANDBOX[:1], "seeds": sweep.seeds[:1], "search": {}}
    alone = sweep.model_copy(update={**smallest, "mirror": empty})
    mirror = Mirror(empty)
    splits: dict[Split, None] = {}
    for stage in make_plan(alone).stages:
        for files, languages in needed_files(stage.train, stage.evaluate, stage.probes).values():
            for part in files.all_files:
                for language in languages:
                    path = mirror.path(part, language)
                    config = path.parent.relative_to(empty / part.dataset).as_posix()
                    splits[Split(part.dataset, "" if config == "." else config, path.stem)] = None
    return sorted(splits, key=lambda split: split.path)


def needed_encoders(sweep: Sweep) -> list[str]:
    """Hub ids of the scales that are no folders on this machine.

    Raises:
        SweepError: a scale is neither a folder nor a hub id.
    """
    names = [name for name in sweep.scales if name not in SANDBOX and not Path(name).expanduser().is_dir()]
    ids = [KNOWN[name].hub_id if name in KNOWN else name for name in names]
    if wrong := [name for name in ids if not HUB_ID.fullmatch(name)]:
        raise SweepError("\n".join(f"scales: {name} is neither a folder here nor a hub id" for name in wrong))
    return ids


def encoder_files(repository: Repository) -> list[str]:
    """The files of a repository that the mirror needs of an encoder.

    Raises:
        HubError: it is no whole encoder, or its weights would have to be unpickled.
    """
    top = [path for path in repository.files if "/" not in path]
    paths = [path for path in top if any(fnmatch(path, pattern) for pattern in ENCODER_FILES)]
    at = f"{repository.name} at {repository.commit}"
    if missing := [path for path in (CONFIG, TOKENIZER) if path not in paths]:
        raise HubError(f"{at}: has no {' and no '.join(missing)}: the encoder is not complete")
    if not any(path.endswith(".safetensors") for path in paths):
        raise HubError(
            f"{at}: has no *.safetensors, and pickled weights are never read; look for a conversion among its pull "
            f"requests on the hub and name it: --revision {repository.name}=refs/pr/N"
        )
    return paths
