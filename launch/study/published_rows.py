"""How many rows each split has on the hub, so that a mirror of a subset is not taken for the whole.

Counts: the hub's own split sizes, for the splits that `trainers.tasks` reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.data.mirror import Mirror
from trainers.stage.languages import ENGLISH
from trainers.tasks import TASKS, Files

ROWS: dict[str, int] = {
    "facebook/anli plain_text train_r1": 16_946,
    "facebook/anli plain_text train_r2": 45_460,
    "facebook/anli plain_text train_r3": 100_459,
    "facebook/anli plain_text dev_r1": 1_000,
    "facebook/anli plain_text dev_r2": 1_000,
    "facebook/anli plain_text dev_r3": 1_200,
    "stanfordnlp/snli plain_text train": 550_152,
    "nyu-mll/glue mnli train": 392_702,
    "nyu-mll/glue mnli validation_matched": 9_815,
    "nyu-mll/glue qqp train": 363_846,
    "nyu-mll/glue qqp validation": 40_430,
    "rajpurkar/squad plain_text train": 87_599,
    "rajpurkar/squad plain_text validation": 10_570,
    "rajpurkar/squad_v2 squad_v2 train": 130_319,
    "rajpurkar/squad_v2 squad_v2 validation": 11_873,
    "Rowan/hellaswag default train": 39_905,
    "Rowan/hellaswag default validation": 10_042,
    "allenai/cosmos_qa default train": 25_262,
    "allenai/cosmos_qa default validation": 2_985,
    "tau/commonsense_qa default train": 9_741,
    "tau/commonsense_qa default validation": 1_221,
    "google/xtreme XNLI validation": 37_350,
    "google/xtreme XNLI test": 75_150,
    "google/xtreme tydiqa train": 49_881,
    "google/xtreme tydiqa validation": 5_077,
    "google/xtreme udpos.English train": 21_253,
    "google/xtreme udpos.English validation": 3_974,
    "google/xtreme PAN-X.en train": 20_000,
    "google/xtreme PAN-X.en validation": 10_000,
    "google-research-datasets/paws-x en train": 49_401,
}
"""By `<hub id> <config> <split>`."""


def _by_config(dataset: str, prefix: str, split: str, counts: str) -> None:
    """Add one split of many configs, written as `config=rows` or plainly `rows config config …`."""
    rows = 0
    for word in counts.split():
        if word.isdigit():
            rows = int(word)
            continue
        config, _, own = word.partition("=")
        ROWS[f"{dataset} {prefix}{config} {split}"] = int(own) if own else rows


PAWSX = "2000 de en es fr ja ko zh"
_by_config("google-research-datasets/paws-x", "", "validation", PAWSX)
_by_config("google-research-datasets/paws-x", "", "test", PAWSX)
_by_config("google/xtreme", "XQuAD.", "validation", "1190 ar de el en es hi ru th tr vi zh")
_by_config(
    "google/xtreme",
    "MLQA.",
    "test",
    "ar.ar=5335 de.de=4517 en.en=11590 es.es=5253 hi.hi=4918 vi.vi=5495 zh.zh=5137",
)
_by_config(
    "google/xtreme",
    "MLQA.",
    "validation",
    "ar.ar=517 de.de=512 en.en=1148 es.es=500 hi.hi=507 vi.vi=511 zh.zh=504",
)
_by_config("google/xtreme", "bucc18.", "validation", "de=1038 fr=929 ru=2374 zh=257")
_by_config(
    "google/xtreme",
    "tatoeba.",
    "validation",
    """
    1000 afr ara ben bul cmn deu ell est eus fin fra heb hin hun ind ita jpn kor mar nld pes por rus spa tgl tur urd vie
    jav=205 kat=746 kaz=575 mal=687 swh=390 tam=307 tel=234 tha=548
    """,
)
_by_config(
    "google/xtreme",
    "PAN-X.",
    "test",
    """
    10000 ar bg de el en es et eu fa fi fr he hu id it ja ka ko nl pt ru th tr vi zh
    1000 af bn hi kk ml mr ms sw ta te tl ur
    100 jv my yo
    """,
)
_by_config(
    "google/xtreme",
    "udpos.",
    "test",
    """
    Afrikaans=425 Arabic=1680 Basque=1799 Bulgarian=1116 Chinese=5528 Dutch=1471 English=5440 Estonian=3760
    Finnish=4422 French=9465 German=22458 Greek=2809 Hebrew=491 Hindi=2684 Hungarian=449 Indonesian=1557
    Italian=3518 Japanese=2372 Kazakh=1047 Korean=4276 Marathi=47 Persian=600 Portuguese=2681 Russian=11336
    Spanish=3147 Tagalog=55 Tamil=120 Telugu=146 Thai=1000 Turkish=4785 Urdu=535 Vietnamese=800 Yoruba=100
    """,
)


def published_rows(dataset: str, config: str, split: str) -> int | None:
    """Rows of a whole split; None where no count is known."""
    return ROWS.get(f"{dataset} {config} {split}")


def expected_rows(mirror: Mirror, files: Files, language: str) -> int:
    """Rows that the mirror holds in a language; where it holds none yet, about as many as are published."""
    if held := mirror.count(files, language):
        return held
    total = 0
    for part in files.parts:
        whole = published_rows(part.dataset, _config(mirror, part, language), mirror.path(part, language).stem) or 0
        total += whole // LANGUAGES_OF_ONE_FILE if part.language_column or part.language_prefix else whole
    return total


LANGUAGES_OF_ONE_FILE = 15
"""XNLI's: about as many rows in each."""


def _config(mirror: Mirror, files: Files, language: str) -> str:
    return mirror.path(files, language).parent.relative_to(mirror.root / files.dataset).as_posix()


def subsets(mirror: Mirror, needed: dict[str, tuple[Files, tuple[str, ...]]]) -> Iterator[str]:
    """A sentence for each `<task>/<role>` of which the mirror holds fewer rows than are published, or more.

    A translation is held against the rows that it translates.
    """
    for name, (files, languages) in sorted(needed.items()):
        translated, held, published = name.endswith("/translated"), 0, 0
        for path, (part, one) in {
            mirror.path(part, one): (part, one) for part in files.parts for one in languages
        }.items():
            original = TASKS[name.split("/")[0]].train
            if translated and original is not None:
                whole: int | None = mirror.count(original, ENGLISH) or None
            else:
                whole = published_rows(part.dataset, _config(mirror, part, one), path.stem)
            if whole is not None:
                with suppress(OSError, pa.ArrowInvalid):  # told elsewhere
                    rows = pq.read_metadata(path).num_rows
                    held, published = held + rows, published + whole
                    if rows > whole:
                        told = "of which it is a translation" if translated else "that are published"
                        yield f"{name}: {path} has {rows:,} rows, more than the {whole:,} {told}: this is other data"
        if held < published:
            yield f"{name}: {held:,} of {published:,} rows: a subset"
