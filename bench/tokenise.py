"""How fast a task's rows become a `TokenisedSet`, against the fast tokenizer alone on the same text in one process.

    python -m bench.tokenise MIRROR ENCODER [ROWS] > docs/benchmarks/tokenise.md

Both are run in turn, five times each; the best of each counts, as other work on the machine only ever slows them.
Clock time says what a user waits; processor time, over all of the tokenizer's threads, is what the ratio can be trusted
in where other people compute beside, and has Python's share weigh less the more threads there are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.measured import measured
from trainers.data.mirror import Mirror
from trainers.data.tokenise import load_tokenizer, rows
from trainers.families import choice, family, tagging
from trainers.stage.languages import ENGLISH
from trainers.tasks import TASKS, Task
from trainers.tokens.sets import Lengths

LENGTHS = Lengths(max_length=384, doc_stride=128)
ROUNDS = 5


def main(mirror: Mirror, encoder: Path, count: int) -> None:
    tokenizer = load_tokenizer(encoder)
    print("\n".join(_heading(encoder)))
    for task in TASKS.values():
        files = task.train or task.test
        held = [one for one in (ENGLISH, *task.languages) if files is not None and mirror.holds(files, one)]
        if files is None or not held:
            continue
        table = rows(mirror, task, files, held[0], count)  # of retrieval another language: English is its other side
        if task.family == "tagging" and not task.labels:
            task = replace(task, labels=tagging.classes(task, table))
        alone, whole = [], []
        for _ in range(ROUNDS):
            alone.append(_seconds(lambda table=table, task=task: _tokenizer_alone(task, table, tokenizer)))
            whole.append(_seconds(lambda table=table, task=task: family(task).encode(task, table, tokenizer, LENGTHS)))
        (clock, processor), (our_clock, our_processor) = np.min(alone, 0), np.min(whole, 0)
        print(
            f"| {task.name} | {task.family} | {table.num_rows:,} | {table.num_rows / clock:,.0f} |"
            f" {table.num_rows / our_clock:,.0f} | {clock / our_clock:.2f} | {processor / our_processor:.2f} |",
            flush=True,
        )


def _heading(encoder: Path) -> list[str]:
    return [
        "# Tokenising, against the tokenizer alone",
        "",
        f"{measured('python -m bench.tokenise')} at the start; tokenizer of {encoder.name}, "
        f"{LENGTHS.max_length} tokens, stride {LENGTHS.doc_stride}.  ",
        f"The best of {ROUNDS} alternating rounds; ratios are ours over the tokenizer's, above 1 where texts recur "
        "(a context with several questions, a word) and are tokenised once.",
        "",
        "| task | family | rows | tokenizer alone, rows/s | whole, rows/s | ratio, clock | ratio, processor |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock, and of processors."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


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
        case "mlm" | "mining" | "retrieval":
            tokenizer.enable_truncation(LENGTHS.max_length)
            texts = columns[1:] if task.family == "mining" else columns
            tokenizer.encode_batch_fast([text for column in texts for text in column])
        case _:
            tokenizer.enable_truncation(LENGTHS.max_length, strategy="longest_first")
            tokenizer.encode_batch_fast(list(zip(columns[0], columns[1], strict=True)))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(Mirror(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) == 4 else 4000)
