"""One stage, top to bottom: load → resume → train (probing on the way) → evaluate → export → result.

    outcome = run(stage, Context(store, mirror))            # every door ends here, on every rank

Killed at any instant and run again, a stage goes on from its last checkpoint and ends with the same weights.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist

from trainers import checkpoint
from trainers.data.mirror import Mirror
from trainers.data.stagedata import DataError, StageData
from trainers.encoder import Vocabulary, export_encoder, load_encoder
from trainers.engine import Engine, StageModel, learning_rate_at
from trainers.evaluate import predict, sentence_embeddings
from trainers.heads import build_head
from trainers.probes import Prober, Score, probe_steps
from trainers.progress import Progress
from trainers.provenance import provenance
from trainers.ranks import Ranks, connect
from trainers.recorder import Recorder
from trainers.scales import locate
from trainers.stage import Execution, Stage
from trainers.store import Claim, EventLog, StageEntry, Store, StoreError, write_json
from trainers.tasks import TASKS, family
from trainers.tracking import Tracker, Tracking

Outcome = Literal["completed", "diverged", "preempted"]


@dataclass
class Context:
    """What a door hands to `run` beside the stage."""

    store: Store
    mirror: Mirror
    execution: Execution = field(default_factory=Execution)
    tracking: Tracking = field(default_factory=Tracking)
    should_stop: Callable[[], bool] = lambda: False
    """Asked at every step boundary; if any rank says yes, all ranks save and `run` returns `preempted`."""
    job: str = "local"
    """Names this job in claims and events."""


def run(stage: Stage, context: Context) -> Outcome:
    """Carry out one stage, or return at once where its result exists.  All ranks call it.

    Raises:
        StageInUse, StoreError: another job has the stage, or the store cannot be written.
        DataError: the data are not what the stage was planned with.
        ValueError: the encoder does not fit.
    """
    ranks = Ranks.from_environment()
    connect(ranks)
    _set_up_torch(context.execution)
    work = _Work(stage, context, ranks)
    try:
        return work.outcome_if_done() or work.carry_out()
    except BaseException as error:
        work.failed(error)
        raise
    finally:
        work.close()


def _set_up_torch(execution: Execution) -> None:
    if execution.threads:
        torch.set_num_threads(execution.threads)
    # "Bit for bit" needs it on a GPU; operations without a deterministic version only warn.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


class _Work:
    """The state of one attempt at one stage."""

    def __init__(self, stage: Stage, context: Context, ranks: Ranks) -> None:
        self.stage, self.context, self.ranks = stage, context, ranks
        self.seconds: dict[str, float] = {"start": 0.0, "train": 0.0, "probe": 0.0, "evaluate": 0.0, "save": 0.0}
        self.tokens = 0
        self.claim: Claim | None = None
        self.engine: Engine | None = None
        self.recorder = Recorder(stage, None, None)
        self.entry: StageEntry = context.store.entry(stage.key)

    def outcome_if_done(self) -> Outcome | None:
        self._on_first(lambda: self.context.store.open(self.stage))
        result = self.entry.result
        return result["outcome"] if result else None

    def carry_out(self) -> Outcome:
        with self._timed("start"):
            self._begin()
            self._load()
            step = self._resume()
        if self.stage.train:
            outcome = self._train(step)
            if outcome != "completed":
                return outcome
        with self._timed("evaluate"):
            scores = self._evaluate()
        with self._timed("save"):
            self._export()
        return self._finish(scores)

    # -- begin --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        def claim_and_open() -> None:
            self.claim = self.entry.claim(self.context.job)
            scale = locate(self.stage.scale.source)
            log = EventLog(self.entry)
            tracker = Tracker(self.stage, {"stage": self.stage.model_dump(mode="json"), "scale": scale.facts},
                              self.context.tracking, self.context.store.root)
            self.recorder = Recorder(self.stage, log, tracker)
            log.write("attempt", job=self.context.job, claim=self.claim.number, world_size=self.ranks.world_size,
                      scale=scale.facts, execution=self.context.execution.model_dump(mode="json"), **provenance())

        self._on_first(claim_and_open)

    def _load(self) -> None:
        stage, context = self.stage, self.context
        parent = context.store.entry(stage.parent) if stage.parent else None
        if parent is not None and not parent.done:
            raise StoreError(f"stage {stage.key} starts from {stage.parent}, which has no result yet: run that first")
        self.encoder_folder = parent.encoder if parent else Path(stage.scale.source)

        def load() -> StageData:
            return StageData.load(stage, context.mirror, context.store.tokenised, self.encoder_folder)

        data = self._on_first(load)  # rank 0 fills the cache, the others open it
        self.data = data if data is not None else load()

        encoder = load_encoder(self.encoder_folder, context.execution)
        used = self.data.token_ids if context.execution.trim_vocabulary else None
        self.vocabulary = Vocabulary(used, encoder.config.vocab_size)
        self.full_embeddings = self.vocabulary.trim(encoder)
        torch.manual_seed(stage.seed)
        config = encoder.config
        heads = {name: build_head(TASKS[name], config.hidden_size, config.hidden_dropout_prob,
                                  config.initializer_range) for name in stage.train}
        stored_head = _stored_head(parent, stage, config) if parent and stage.probe else None
        self.engine = Engine(StageModel(encoder, heads), stage.recipe, context.execution, self.ranks)
        if stage.probe is not None:
            assert self.data.refit is not None
            self.prober = Prober(TASKS[stage.probe.task], self.data.probe, self.data.refit.examples, stored_head)

    def _resume(self) -> int:
        """The step to go on from: 0, or that of the newest whole checkpoint."""
        found = self._on_first(lambda: checkpoint.newest_whole(self.entry.checkpoints))
        path = self._share(str(found.checkpoint) if found and found.checkpoint else None)
        for name, reason in found.set_aside if found else ():
            self.recorder.event("checkpoint_set_aside", checkpoint=name, reason=reason)
        if path is None:
            return 0
        assert self.engine is not None
        step = checkpoint.load(self.engine, Path(path))
        self.recorder.event("resumed", step=step, checkpoint=Path(path).name)
        return step

    # -- train --------------------------------------------------------------------------------------------

    def _train(self, done: int) -> Outcome:
        stage, engine = self.stage, self.engine
        assert stage.recipe is not None and engine is not None
        (task,) = stage.train
        examples = self.data.train[task].examples
        total = stage.recipe.total_steps(len(examples))
        probed = set(probe_steps(total)) if stage.kind == "target" and stage.probe else set()
        progress = Progress(stage.label, total, done) if self.ranks.first else None
        saved_at = time.monotonic()
        if done == 0:
            self._first_probe()
        try:
            for step in range(done, total):
                started = time.perf_counter()
                save_due = time.monotonic() - saved_at >= self.context.execution.checkpoint_every_s
                learning_rate = learning_rate_at(stage.recipe, step, total)
                report = engine.step(examples, task, step, stage.seed, self.vocabulary, learning_rate,
                                     votes=(self.context.should_stop(), save_due and self.ranks.first))
                seconds = time.perf_counter() - started
                self.seconds["train"] += seconds
                self.tokens += report.tokens
                done = step + 1
                self.recorder.step(done, report.loss, learning_rate, report.tokens, seconds)
                if progress:
                    progress.step(done, report.loss, report.tokens)
                if report.loss != report.loss:
                    return self._diverged(f"the loss is not a number at step {done}")
                if done in probed:
                    self._probe(done)
                stop, save = report.votes
                if stop or (save and done < total):
                    self._save_checkpoint(done)
                    saved_at = time.monotonic()
                if stop:
                    self.recorder.event("ended", outcome="preempted", step=done)
                    return "preempted"
        finally:
            if progress:
                progress.close()
        if stage.kind == "intermediate" and stage.probe:
            self.prober.stored_head = engine.model.heads[task]
            self._probe(total)
        return "completed"

    def _first_probe(self) -> None:
        """Before any step: for an intermediate the untouched encoder (P_base), for a target A(0) and P(0)."""
        if self.stage.probe is None:
            return
        if self.stage.kind == "intermediate":
            self._probe(0, stored_as=None, refit_as="untouched")
        else:
            self._probe(0)

    def _probe(self, step: int, **measures: Any) -> None:
        assert self.engine is not None
        with self._timed("probe"):
            probing = self.prober.measure(self.engine, self.vocabulary, **measures)
            if self.ranks.first:
                self._write_predictions(f"probe-step-{step:09d}", probing.examples)
            self.recorder.measured(probing.scores, at=step)

    def _save_checkpoint(self, step: int) -> None:
        assert self.engine is not None
        with self._timed("save"):
            if self.claim:
                self.claim.check()
            path = checkpoint.save(self.engine, self.entry.checkpoints, step)
            self.recorder.event("checkpoint", step=step, checkpoint=path.name)

    # -- evaluate -----------------------------------------------------------------------------------------

    def _evaluate(self) -> list[Score]:
        assert self.engine is not None
        scores: list[Score] = []
        if self.stage.kind == "retrieval":
            for labelled in self.data.evaluations:
                scores += self._evaluate_retrieval(labelled)
            return scores
        (trained,) = self.stage.train
        total = self.stage.recipe.total_steps(len(self.data.train[trained].examples)) if self.stage.recipe else 0
        for measure, sets in (("development", self.data.development.values()), ("zero_shot", self.data.evaluations)):
            for labelled in sets:
                decoded = predict(self.engine, trained, labelled.examples, self.vocabulary)
                ways = family(labelled.task)
                metrics, frame = ways.score(labelled.task, labelled.table, labelled.examples, decoded)
                chance = ways.chance(labelled.task, labelled.table)
                scores += [Score(measure, labelled.task.name, labelled.language, metric, value, len(frame), chance)
                           for metric, value in metrics.items()]
                if measure == "zero_shot" and self.ranks.first:
                    self._write_predictions(f"{labelled.task.name}-{labelled.language}", frame)
        self.recorder.measured(scores, at=total)
        return scores

    def _evaluate_retrieval(self, labelled: Any) -> list[Score]:
        ways, task = family(labelled.task), labelled.task
        assert self.engine is not None
        embeddings = sentence_embeddings(self.engine, labelled.examples, self.vocabulary)
        chance = ways.chance(task, labelled.table)
        scores = []
        for layer, layer_embeddings in enumerate(embeddings):
            frame = ways.frame_of(ways.score_layer(layer_embeddings))
            score = Score("retrieval", task.name, labelled.language, task.metric, frame["score"].mean(), len(frame),
                          chance)
            self.recorder.measured([score], at=layer)
            scores.append(score)
            if self.ranks.first:
                self._write_predictions(f"{task.name}-layer{layer:02d}-{labelled.language}", frame)
        return scores

    def _write_predictions(self, name: str, frame: Any) -> None:
        self.entry.predictions.mkdir(exist_ok=True)
        final = self.entry.predictions / f"{name}.parquet"
        building = final.with_name(f".{final.name}")
        frame.write_parquet(building)
        os.replace(building, final)

    # -- end ----------------------------------------------------------------------------------------------

    def _export(self) -> None:
        """An intermediate's encoder and head, whole, in Hugging Face's format: its targets start from them."""
        if self.stage.kind != "intermediate":
            return
        from safetensors.torch import save_file

        assert self.engine is not None
        weights = {name: checkpoint.full_weight(self.engine, parameter)
                   for name, parameter in checkpoint.named_parameters(self.engine)}
        if self.ranks.first:
            encoder = {name.removeprefix("encoder."): weight.cpu() for name, weight in weights.items()
                       if name.startswith("encoder.")}
            words = "embeddings.word_embeddings.weight"
            encoder[words] = self.vocabulary.restore(self.full_embeddings, encoder[words])
            heads = {name.removeprefix("heads."): weight.cpu().contiguous() for name, weight in weights.items()
                     if name.startswith("heads.")}
            config = self.engine.model.encoder.config
            config.vocab_size = len(self.full_embeddings)
            export_encoder(self.entry.encoder, config, encoder, self.encoder_folder)
            save_file(heads, self.entry.heads)

    def _finish(self, scores: list[Score]) -> Outcome:
        below = next((score for score in scores if score.measure == "development"
                      and score.metric == TASKS[score.task].metric and score.value <= score.chance), None)
        if below is not None:
            return self._diverged(f"development {below.metric} {below.value:.3f} is not above the majority class's "
                                  f"{below.chance:.3f}")
        return self._write_result("completed", None)

    def _diverged(self, evidence: str) -> Outcome:
        return self._write_result("diverged", evidence)

    def _write_result(self, outcome: Outcome, evidence: str | None) -> Outcome:
        total = sum(self.seconds.values())
        result = {
            "outcome": outcome, "evidence": evidence, "tokens": self.tokens,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "probe_share": round(self.seconds["probe"] / max(total, 1e-9), 4),
            "tokens_per_s": round(self.tokens / max(self.seconds["train"], 1e-9), 1),
        }

        def write() -> None:
            assert self.claim is not None
            self.claim.check()
            attempts = len(self.entry.events("attempt"))
            write_json(self.entry.folder / "provenance.json", {**provenance(), "attempts": attempts})
            self.recorder.event("ended", **result)
            if self.recorder.log:
                self.recorder.log.sync()
            write_json(self.entry.folder / "result.json", result)
            checkpoint.discard(self.entry.checkpoints)
            if self.recorder.tracker:
                self.recorder.tracker.finish(result, exit_code=0 if outcome == "completed" else 1)
            if probe_share := result["probe_share"]:
                print(f"{self.stage.label}  {outcome} in {total:.1f} s, probing {probe_share:.1%} of it", flush=True)

        self._on_first(write)
        return outcome

    def failed(self, error: BaseException) -> None:
        """Leave word of why this attempt ended, as well as the store still allows."""
        try:
            cause = "bad_data" if isinstance(error, DataError) else "crash"
            if "out of memory" in str(error).lower():
                cause = "out_of_memory"
            self.recorder.event("ended", outcome=cause, evidence=f"{type(error).__name__}: {error}")
        except OSError:
            pass

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()
        if self.recorder.tracker is not None:
            self.recorder.tracker.finish(exit_code=1)  # does nothing after a finish
            if self.recorder.tracker.trouble:
                print(self.recorder.tracker.trouble, flush=True)
        if self.recorder.log is not None:
            self.recorder.log.close()
        if self.claim is not None:
            self.claim.release()

    # -- ranks --------------------------------------------------------------------------------------------

    def _on_first(self, act: Callable[[], Any]) -> Any:
        """Let rank 0 act; its result stays there (None elsewhere), its error is raised on every rank."""
        result, error = None, None
        if self.ranks.first:
            try:
                result = act()
            except Exception as raised:  # noqa: BLE001 - handed on to all ranks below
                error = raised
        shared = self._share(error)
        if shared is not None:
            raise shared
        return result

    def _share(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        if self.ranks.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def _timed(self, part: str) -> _Stopwatch:
        return _Stopwatch(self.seconds, part)


class _Stopwatch:
    """Adds the seconds spent inside to one entry of a table."""

    def __init__(self, table: dict[str, float], name: str) -> None:
        self.table, self.name = table, name

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.table[self.name] += time.perf_counter() - self.started


def _stored_head(parent: StageEntry, stage: Stage, config: Any) -> torch.nn.Module:
    """The head that phase 2 trained, re-attached as it was."""
    from safetensors.torch import load_file

    assert stage.probe is not None
    name = stage.probe.task
    head = build_head(TASKS[name], config.hidden_size, config.hidden_dropout_prob, config.initializer_range)
    weights = load_file(parent.heads)
    head.load_state_dict({key.removeprefix(f"{name}."): weight for key, weight in weights.items()
                          if key.startswith(f"{name}.")})
    return head
