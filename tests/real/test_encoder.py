"""A real pretrained encoder gives its known results through our own tokeniser, engine and retrieval."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainers.stages import measurements, plan_stages, run_here
from trainers.data.mirror import Mirror
from trainers.data.tokenise import load_tokenizer
from trainers.families import pair
from trainers.stage.languages import ISO639_3
from trainers.stage.scales import locate
from trainers.store import Store
from trainers.tasks import TASKS
from trainers.tokens.sets import Lengths

KNOWN_ACCURACY = {"de": 0.962, "ru": 0.908, "zh": 0.893, "hi": 0.964, "sw": 0.759}
"""English → X over all of Tatoeba, mean-pooled last layer, every sentence with the model's own prefix."""
PREFIX = "query: "


@pytest.fixture
def prefixed(real_mirror, tmp_path) -> Mirror:
    """Tatoeba with the prefix that this encoder was trained with."""
    root = tmp_path / "mirror"
    files = TASKS["tatoeba"].test
    for language in KNOWN_ACCURACY:
        table = real_mirror.table(files, language)
        for column in ("source_sentence", "target_sentence"):
            texts = [PREFIX + text for text in table[column].to_pylist()]
            table = table.set_column(table.column_names.index(column), column, pa.array(texts))
        path = Mirror(root).path(files, language)
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)
    return Mirror(root)


@pytest.mark.slow
def test_tatoeba_accuracy_is_the_known_one(real_encoder: Path, prefixed: Mirror, tmp_path):
    (stage,) = plan_stages(
        prefixed,
        real_encoder,
        "none",
        "tatoeba",
        languages=tuple(KNOWN_ACCURACY),
        evaluation={"max_examples": None},
        max_length=512,
    )
    store = Store(tmp_path / "store")
    run_here(stage, store, prefixed)
    last = locate(str(real_encoder)).shape.layers
    found = {
        language: measurements(store.entry(stage.key))[last, "retrieval", "tatoeba", language, "accuracy"]
        for language in KNOWN_ACCURACY
    }
    print({ISO639_3[language]: round(value, 3) for language, value in found.items()})
    assert found == pytest.approx(KNOWN_ACCURACY, abs=0.01)


@pytest.mark.slow
def test_tokenizer_makes_xlmr_pairs(real_encoder: Path):
    tokenizer = load_tokenizer(real_encoder)
    mnli = TASKS["mnli"]
    table = pa.table({"premise": ["Ein Hund schläft."], "hypothesis": ["学校很大。"], "label": [1]})
    ((first, second),) = zip(
        *[[tokenizer.encode(table[c][0].as_py(), add_special_tokens=False).ids] for c in ("premise", "hypothesis")],
        strict=True,
    )
    encoded = pair.encode(mnli, table, tokenizer, Lengths(64, 0))
    assert encoded.sequence(0).tolist() == [0, *first, 2, 2, *second, 2]
    tokenizer.no_truncation()


def test_folder_without_weights_is_refused(real_encoder: Path, tmp_path):
    from trainers.network.encoder import load_encoder
    from trainers.stage import Execution

    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(real_encoder / name, tmp_path / name)
    with pytest.raises(OSError, match=r"no file named|not found|does not appear"):
        load_encoder(tmp_path, Execution())
