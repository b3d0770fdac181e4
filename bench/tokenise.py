"""How fast a task's rows become a `TokenisedSet`, against the fast tokenizer alone on the same text in one process.

    python bench/tokenise.py MIRROR ENCODER [ROWS]

Prints, for each task that the mirror holds, rows/s of both and their ratio: the median of three alternating rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainers.data.mirror import Mirror
from trainers.data.tokenise import Lengths, load_tokenizer, rows
from trainers.provenance import provenance
from trainers.tasks import TASKS, Task, choice, family
from trainers.tasks.languages import ENGLISH

LENGTHS = Lengths(max_length=384, doc_stride=128)
ROUNDS = 3


def main(mirror: Mirror, encoder: Path, count: int) -> None:
    tokenizer = load_tokenizer(encoder)
    facts = provenance()
    commit = (facts["code"] or {}).get("commit", "unknown")[:7]
    print(f"commit {commit}, {', '.join(facts['devices'])}, {time.strftime('%Y-%m-%d')}, {encoder.name}\n")
    print("| task | rows | tokenizer alone, rows/s | whole, rows/s | ratio |\n|---|--:|--:|--:|--:|")
    for task in TASKS.values():
        files = task.train or task.test
        if files is None or task.family == "mining" or not mirror.holds(files, ENGLISH):
            continue
        table = rows(mirror, task, files, ENGLISH, count)
        if task.family == "tagging" and not task.labels:
            continue
        alone, whole = [], []
        for _ in range(ROUNDS):
            alone.append(_seconds(lambda table=table, task=task: _tokenizer_alone(task, table, tokenizer)))
            whole.append(_seconds(lambda table=table, task=task: family(task).encode(task, table, tokenizer, LENGTHS)))
        ours, theirs = table.num_rows / statistics.median(whole), table.num_rows / statistics.median(alone)
        print(f"| {task.name} | {table.num_rows:,} | {theirs:,.0f} | {ours:,.0f} | {ours / theirs:.2f} |", flush=True)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _tokenizer_alone(task: Task, table: pa.Table, tokenizer: Any) -> None:
    """The same text through the same tokenizer, in its own batches; nothing is kept."""
    tokenizer.no_truncation()
    columns = [table[column].to_pylist() for column in task.columns]
    match task.family:
        case "tagging":
            tokenizer.encode_batch_fast([word for words in columns[0] for word in words], add_special_tokens=False)
        case "choice":
            tokenizer.enable_truncation(LENGTHS.max_length, strategy="longest_first")
            asked = choice.questions(task, table)
            tokenizer.encode_batch_fast([(one.prompt, answer) for one in asked for answer in one.choices])
        case "span":
            tokenizer.enable_truncation(LENGTHS.max_length, stride=LENGTHS.doc_stride, strategy="only_second")
            tokenizer.encode_batch(list(zip(columns[0], columns[1], strict=True)))
        case "mlm":
            tokenizer.enable_truncation(LENGTHS.max_length)
            tokenizer.encode_batch_fast(columns[0])
        case _:
            tokenizer.enable_truncation(LENGTHS.max_length, strategy="longest_first")
            tokenizer.encode_batch_fast(list(zip(columns[0], columns[1], strict=True)))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(Mirror(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) == 4 else 4000)
