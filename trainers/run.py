"""One stage, top to bottom: claim → assemble → resume → train (probing on the way) → evaluate → export → result.

    outcome = run(stage, Context(store, mirror))            # every door ends here, on every rank

Killed at any instant and run again, a stage goes on from its last checkpoint and ends with the same weights.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl
import torch

from trainers.assembly import Assembly, assemble
from trainers.data.mirror import Mirror
from trainers.data.stagedata import DataError
from trainers.measure.evaluate import RETRIEVAL, evaluate, evaluate_retrieval
from trainers.measure.probes import all_language_steps, probe_steps
from trainers.stage import Execution, Stage
from trainers.stage.random import seed_for
from trainers.stage.scales import locate
from trainers.stage.scores import Score
from trainers.store import EventLog, StageEntry, Store
from trainers.store.claims import Claim, ClaimLost, Judge, nobody_knows
from trainers.store.files import StoreError, write_json, writing
from trainers.store.progress import Progress
from trainers.store.record import Recorder, Stopwatch, provenance
from trainers.store.tracking import Patience, Tracker, Tracking
from trainers.tasks import TASKS
from trainers.training import checkpoint
from trainers.training.checkpoint import Saver
from trainers.training.engine import set_up_torch
from trainers.training.ranks import Ranks, connect
from trainers.training.step import learning_rate_at

Outcome = Literal["completed", "diverged", "preempted"]


@dataclass
class Context:
    """What `run` needs besides the stage: where from, where to, how, and when to stop."""

    store: Store
    mirror: Mirror
    execution: Execution = field(default_factory=Execution)
    tracking: Tracking = field(default_factory=Tracking)
    should_stop: Callable[[], bool] = lambda: False
    """Asked at every step boundary; if any rank says yes, all ranks save and `run` returns `preempted`."""
    job: str = "local"
    """Names this job in claims and events."""
    job_runs: Judge = nobody_knows
    """Asked whether the job that holds a stage still runs."""
    patience: Patience = field(default_factory=Patience)
    """How long W&B may hold up this process."""
    ready: Callable[[], None] = lambda: None
    """Called once the stage has its data, and its encoder is loaded."""


def run(stage: Stage, context: Context) -> Outcome:
    """Carry out one stage, or return at once where its result exists.  All ranks call it.

    Raises:
        StageInUse, StoreError: another job has the stage, or the store cannot be written.
        DataError: the data are not what the stage was planned with.
        ValueError: the encoder does not fit.
    """
    ranks = Ranks.from_environment()
    connect(ranks)
    set_up_torch(context.execution)
    ranks.on_first(lambda: context.store.open(stage))
    result = ranks.share(context.store.entry(stage.key).result)
    if result is not None:
        ranks.on_first(lambda: checkpoint.discard(context.store.entry(stage.key).checkpoints))  # a kill may leave some
        return result["outcome"]
    attempt = _Attempt(stage, context, ranks)
    try:
        return attempt.carry_out()
    except BaseException as error:
        attempt.failed(error)
        raise
    finally:
        attempt.close()


class _Attempt:
    """One attempt at one stage."""

    parts: Assembly
    saver: Saver

    def __init__(self, stage: Stage, context: Context, ranks: Ranks) -> None:
        self.stage, self.context, self.ranks = stage, context, ranks
        self.entry: StageEntry = context.store.entry(stage.key)
        self.watch = Stopwatch("start", "train", "probe", "evaluate", "save")
        self.tokens = 0
        self.claim: Claim | None = None
        self.recorder = Recorder(stage, None, None)

    def carry_out(self) -> Outcome:
        stage, context = self.stage, self.context
        with self.watch("start"):
            self.ranks.on_first(self._claim)
            self.parts = assemble(stage, context.store, context.mirror, context.execution, self.ranks)
            self.saver = Saver(self.parts.engine, self.entry.checkpoints, self._still_ours, self._checkpoint_written)
            done = self._resume()
        context.ready()
        if stage.train:
            outcome = self._train(done)
            if outcome != "completed":
                return outcome
        with self.watch("evaluate"):
            scores = self._evaluate()
        if stage.kind == "intermediate":
            with self.watch("save"):
                self.parts.export(self.entry)
        if flaw := not_above_chance(scores):
            return self._write_result("diverged", flaw)
        return self._write_result("completed")

    # -- begin --------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Rank 0 takes the stage and opens what it writes to."""
        stage, context = self.stage, self.context
        self.claim = self.entry.claim(context.job, context.job_runs)
        facts = locate(stage.scale.source).facts
        log = EventLog(self.entry)
        config = {"stage": stage.model_dump(mode="json"), "scale": facts}
        tracker = Tracker(stage, config, context.tracking, context.store.root, context.patience)
        self.recorder = Recorder(stage, log, tracker)
        log.write(
            "attempt",
            job=context.job,
            claim=self.claim.number,
            world_size=self.ranks.world_size,
            scale=facts,
            execution=context.execution.model_dump(mode="json"),
            **provenance(),
        )

    def _resume(self) -> int:
        """The number of steps already done: 0, or that of the newest whole checkpoint."""
        newest, set_aside = self.ranks.share(
            self.ranks.on_first(lambda: checkpoint.newest_whole(self.entry.checkpoints))
        )
        for name, reason in set_aside:
            self.recorder.event("checkpoint_set_aside", checkpoint=name, reason=reason)
        if newest is None:
            return 0
        step = checkpoint.load(self.parts.engine, newest)
        self.recorder.event("resumed", step=step, checkpoint=newest.name)
        return step

    # -- train --------------------------------------------------------------------------------------------

    def _train(self, done: int) -> Outcome:
        stage, engine, batches = self.stage, self.parts.engine, self.parts.batches
        total = batches.total_steps
        often = stage.probings_per_doubling
        probed = probe_steps(total, often) if stage.kind == "target" else []
        saved_at = time.monotonic()
        if done == 0:
            self._probe_start()
        with Progress(stage.label, total, done, quiet=not self.ranks.first) as progress:
            for step in range(done, total):
                task, recipe, examples = batches.draw(step)
                learning_rate = learning_rate_at(recipe, step, total)
                save_due = time.monotonic() - saved_at >= self.context.execution.checkpoint_every_s
                with self.watch("train") as lap:
                    report = engine.step(
                        examples,
                        task,
                        (seed_for(stage, task, "dropout"), step),
                        self.parts.vocabulary,
                        learning_rate,
                        votes=(self.context.should_stop(), save_due and self.ranks.first),
                    )
                self.tokens += report.tokens
                done = step + 1
                self.recorder.step(done, report.loss, learning_rate, report.tokens, lap.seconds)
                progress.step(done, report.loss, report.tokens)
                self._beat()
                if not math.isfinite(report.loss):
                    self.saver.wait()
                    return self._write_result("diverged", f"the loss is {report.loss} at step {done}")
                if done in probed:
                    self._probe(done, all_languages=done in all_language_steps(total, often))
                self.saver.look()
                stop, save = report.votes
                if stop or (save and done < total):
                    with self.watch("save"):
                        self.recorder.sync()  # what was measured before a checkpoint will not be measured again
                        self.saver.begin(done)
                    saved_at = time.monotonic()
                if stop:
                    self.saver.wait()
                    self.recorder.event("ended", outcome="preempted", step=done)
                    return "preempted"
        with self.watch("save"):
            self.saver.wait()
        if stage.kind == "intermediate":
            for prober in self.parts.probers:
                prober.stored_head = self.parts.trained_head(prober.task.name)
            self._probe(total)
        return "completed"

    def _probe_start(self) -> None:
        """Before any step: for an intermediate the untouched encoder (P_base), for a target A(0) and P(0)."""
        if self.stage.kind == "intermediate":
            self._probe(0, stored_as=None, refit_as="untouched")
        else:
            self._probe(0)

    def _probe(self, step: int, **measures: Any) -> None:
        if not self.parts.probers:
            return
        with self.watch("probe"):
            probings = [
                prober.measure(self.parts.engine, self.parts.vocabulary, **measures) for prober in self.parts.probers
            ]
            self._write_examples(f"probe-step-{step:09d}", pl.concat([probing.examples for probing in probings]))
            self.recorder.measured([score for probing in probings for score in probing.scores], at=step)

    def _checkpoint_written(self, path: Path) -> None:
        self.recorder.event("checkpoint", step=checkpoint.step_of(path), checkpoint=path.name)

    def _beat(self) -> None:
        if self.claim is not None:
            self.claim.beat()

    # -- evaluate -----------------------------------------------------------------------------------------

    def _evaluate(self) -> list[Score]:
        engine, vocabulary, data = self.parts.engine, self.parts.vocabulary, self.parts.data
        scores: list[Score] = []
        if self.stage.kind == "retrieval":
            for labelled in data.evaluations:
                for layer, evaluated in evaluate_retrieval(engine, vocabulary, labelled):
                    normed = "" if evaluated.scores[0].measure == RETRIEVAL else "-normed"
                    name = f"{labelled.task.name}{normed}-layer{layer:02d}-{labelled.language}"
                    self._write_examples(name, evaluated.examples)
                    self.recorder.measured(evaluated.scores, at=layer)
                    scores += evaluated.scores
            return scores
        for head in self.stage.trained:
            sets = [("development", data.development[head])] if head in data.development else []
            sets += [("zero_shot", labelled) for labelled in data.evaluations]
            if not sets:  # language modelling is not scored
                continue
            in_sets = evaluate(engine, vocabulary, head, sets, self._beat)
            for (measure, labelled), evaluated in zip(sets, in_sets, strict=True):
                scores += evaluated.scores
                if measure == "zero_shot":
                    self._write_examples(f"{labelled.task.name}-{labelled.language}", evaluated.examples)
        self.recorder.measured(scores, at=self.parts.batches.total_steps)
        return scores

    def _write_examples(self, name: str, examples: pl.DataFrame) -> None:
        """Per-example rows, whole or not at all."""
        self._beat()
        if not self.ranks.first:
            return
        building = self.entry.predictions / f".{name}.parquet"
        with writing(building):
            self.entry.predictions.mkdir(exist_ok=True)
            examples.write_parquet(building)
            os.replace(building, self.entry.predictions / f"{name}.parquet")

    # -- end ----------------------------------------------------------------------------------------------

    def _write_result(self, outcome: Outcome, evidence: str | None = None) -> Outcome:
        seconds, total = self.watch.seconds, self.watch.total
        engine = self.parts.engine
        result = {
            "outcome": outcome,
            "evidence": evidence,
            "tokens": self.tokens,
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
            "probe_share": round(seconds["probe"] / max(total, 1e-9), 4),
            "tokens_per_s": round(self.tokens / max(seconds["train"], 1e-9), 1),
            # What a memory model predicts, and what it predicts it from.
            "peak_memory_bytes": engine.peak_memory_bytes(),
            "device": engine.device.type,
            "precision": "bf16" if engine.bf16 else "fp32",
            "micro_batch_tokens": int(engine.largest_over_ranks(engine.largest_micro_batch_tokens)),
            "vocabulary": len(self.parts.vocabulary),
        }
        self.ranks.on_first(lambda: self._commit(result))
        if self.ranks.first:
            probing = f", probing {result['probe_share']:.1%} of it" if self.stage.probes else ""
            print(f"{self.stage.label}  {outcome} in {total:.1f} s{probing}", flush=True)
        return outcome

    def _commit(self, result: dict[str, Any]) -> None:
        """Write the result last of all, if the stage is still ours."""
        self._still_ours()
        attempts = len(self.entry.events("attempt"))
        write_json(self.entry.folder / "provenance.json", {**provenance(), "attempts": attempts})
        self.recorder.event("ended", **result)
        self.recorder.sync()
        write_json(self.entry.folder / "result.json", result)
        checkpoint.discard(self.entry.checkpoints)
        self.recorder.finish(result)

    def _still_ours(self) -> None:
        """Stop before anything is written to a stage that another job has taken over."""
        assert self.claim is not None
        self.claim.check()

    def failed(self, error: BaseException) -> None:
        """Record why this attempt ended, if the store can still be written."""
        if isinstance(error, ClaimLost):
            return  # the log belongs to another job now
        cause = "bad_data" if isinstance(error, DataError) else "crash"
        if isinstance(error, torch.OutOfMemoryError):
            cause = "out_of_memory"
        with contextlib.suppress(StoreError):  # the store itself may be what failed
            self.recorder.event("ended", outcome=cause, evidence=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Close and release everything, however the attempt ended."""
        if hasattr(self, "saver"):
            self.saver.close()
        if hasattr(self, "parts"):
            self.parts.engine.close()
        self.recorder.close()
        if self.claim is not None:
            with contextlib.suppress(StoreError):  # a claim that cannot be released ends with this process
                self.claim.release()


CHANCE_LEVEL = 0.05
"""How often a training that learnt nothing may pass for one that did."""


def not_above_chance(scores: list[Score]) -> str | None:
    """Why a training is called diverged: of a task that it trained on, a constant answer may well score as much.

    The bound is binomial and one-sided; other scores in [0, 1] scatter less than right and wrong answers do.
    """
    lost = []
    for score in scores:
        if score.measure == "development" and score.metric == TASKS[score.task].metric:
            right = round(score.value * score.examples)
            if at_least(right, score.examples, score.chance) > CHANCE_LEVEL:
                lost.append(
                    f"{score.task}: development {score.metric} {score.value:.3f} on {score.examples} examples is not "
                    f"clearly above that of a constant answer, {score.chance:.3f}"
                )
    return "; ".join(lost) or None


def at_least(right: int, count: int, chance: float) -> float:
    """Probability of `right` or more of `count` by chance: scipy's, whose import would bring torch's compiler."""
    if not 0 < chance < 1:
        return float(right <= chance * count)
    log_share, log_rest = math.log(chance), math.log1p(-chance)
    return math.fsum(
        math.exp(
            math.lgamma(count + 1)
            - math.lgamma(number + 1)
            - math.lgamma(count - number + 1)
            + number * log_share
            + (count - number) * log_rest
        )
        for number in range(right, count + 1)
    )
