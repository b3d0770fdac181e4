"""Class names as `datasets` wrote them into parquet files, of every version."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainers.data.mirror import Mirror
from trainers.tasks import Files

NAMES = ["O", "B-PER"]
LABEL = {"names": NAMES, "_type": "ClassLabel"}


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"ner_tags": LABEL}, tuple(NAMES)),
        ({"ner_tags": {"feature": LABEL, "_type": "Sequence"}}, tuple(NAMES)),
        ({"ner_tags": {"feature": LABEL, "_type": "List"}}, tuple(NAMES)),
        ({"ner_tags": [LABEL]}, tuple(NAMES)),
        ({"ner_tags": []}, None),
        ({"ner_tags": {"dtype": "int64", "_type": "Value"}}, None),
        ({"other": LABEL}, None),
        (None, None),
    ],
    ids=["label", "Sequence", "List", "Python's list", "empty list", "value", "other column", "no features"],
)
def test_class_names_are_read_however_a_list_of_them_was_declared(tmp_path, features, expected):
    table = pa.table({"ner_tags": [[0, 1]]})
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    (tmp_path / "data" / "default").mkdir(parents=True)
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "data" / "default" / "train.parquet")
    assert Mirror(tmp_path).class_names(Files("data"), "en", "ner_tags") == expected
