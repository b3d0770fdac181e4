"""A stage: one unit of work with one result, named by the hash of everything that decides that result.

Every door (sbatch, W&B agent, local) hands the same `Stage` to `trainers.run`.  Two sweeps that need the same
stage get the same key and share its result.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from trainers.stage.keys import Cosmetic, Frozen, Later, digest
from trainers.stage.languages import ENGLISH

SCHEMA_VERSION = 4

Kind = Literal["intermediate", "target", "retrieval"]


class ScaleId(Frozen):
    """Which encoder: its weights by fingerprint, and what a person calls it."""

    fingerprint: str
    """Hash of the encoder's files, or `hub:<id>@<revision>` where only the hub knows them."""
    name: str = Cosmetic()
    source: str = Cosmetic()
    """The folder or hub id that the encoder is read from."""


Setting = int | float | str | tuple[float, ...] | None
"""A value of one field of a recipe."""
Overflow = Literal["split", "truncate"]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _share_or_number(value: float) -> float:
    if value > 1 and not value.is_integer():
        raise ValueError("a value up to 1 is a share of the steps, a larger one is their number and must be whole")
    return value


Warmup = Annotated[float, Field(ge=0), AfterValidator(_share_or_number)]


class Recipe(Frozen):
    """How one task is trained: all values, not only those that differ from defaults."""

    batch_size: int = Field(gt=0)
    """Examples per optimizer step (span tasks: windows).  Splitting a step into micro-batches never changes this."""
    epochs: int = Field(gt=0)
    """Passes over the training examples."""
    max_steps: int | None = Field(default=None, gt=0)
    """Largest number of optimizer steps; the learning-rate schedule ends there."""
    max_examples: int | None = Field(default=None, gt=0)
    """Largest number of training examples: the first of a fixed shuffle, the same for every seed and scale."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate, between linear warm-up and linear decay."""
    warmup: Warmup = 0.1
    """Steps in which the learning rate rises: a share of all steps if up to 1, their number if above."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's weight decay; not for biases and LayerNorm weights."""
    adam_betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """AdamW's betas: decay of the running means of gradients and of squared gradients."""
    adam_epsilon: float = Field(default=1e-8, gt=0)
    """AdamW's epsilon: added to the root of the mean of squared gradients."""
    gradient_clipping: float = Field(default=1.0, gt=0)
    """Largest global gradient norm; larger gradients are scaled down."""
    max_length: int = Field(ge=8)
    """Largest number of tokens per sequence, including special tokens."""
    doc_stride: int = Field(default=128, ge=0)
    """Tokens that neighbouring windows of one document share (span tasks only)."""
    overflow: Overflow = "split"
    """What to do with a sentence that is too long for tagging: split it (as XTREME does) or truncate it (as jiant)."""

    def steps_per_epoch(self, examples: int) -> int:
        """Optimizer steps in one pass over `examples`; the last batch may be smaller."""
        return -(-examples // self.batch_size)

    def total_steps(self, examples: int) -> int:
        """Optimizer steps of the whole training, T."""
        steps = self.epochs * self.steps_per_epoch(examples)
        return min(steps, self.max_steps) if self.max_steps else steps

    def warmup_steps(self, total_steps: int) -> int:
        """Optimizer steps in which the learning rate rises; of a short training more than `total_steps`."""
        return int(self.warmup if self.warmup > 1 else self.warmup * total_steps)


class Training(Frozen):
    """One task that a stage trains on."""

    task: str
    recipe: Recipe
    languages: tuple[str, ...] = Field(default=(ENGLISH,), min_length=1)
    """Languages of the training rows; those other than English are machine translations (for `mlm`: text)."""


class Mixing(Frozen):
    """How the tasks of a stage share its steps: each step trains one task, drawn by the number of the step."""

    sampling: Literal["uniform", "proportional", "temperature"] = "temperature"
    """A task of n examples is drawn with p ∝ 1, n, or min(n, cap)^(1/temperature) (as in T5 and Phang et al. 2020)."""
    temperature: float = Field(default=2.0, gt=0)
    """1 draws in proportion to the capped sizes; a higher temperature makes tasks more equally likely."""
    cap: int = Field(default=2**17, gt=0)
    """A task with more examples counts as if it had this many."""
    mlm_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of steps for masked language modelling, if `mlm` is among the tasks."""
    max_steps: int | None = Field(default=None, gt=0)
    """Largest number of optimizer steps; None is the sum over the tasks."""


SHARED_BY_TASKS = ("warmup", "weight_decay", "adam_betas", "adam_epsilon", "gradient_clipping")
"""Fields of a recipe that one optimizer has once, and so all tasks of a stage alike."""


class Probe(Frozen):
    """How retention of one intermediate task is measured; all scales and seeds share the same examples."""

    task: str
    """The intermediate task."""
    languages: tuple[str, ...] = ()
    """Languages other than English in which the task has an evaluation set."""
    examples: int = Field(default=500, gt=0)
    """English development examples on which A and P are measured."""
    examples_other: int = Field(default=100, ge=0)
    """Examples for each language other than English."""
    refit_examples: int = Field(default=500, gt=1)
    """English training examples to which the refit head is fitted; a tenth of it, up to 64, are its dimensions."""
    per_doubling: int = Later(1, gt=0)
    """Probes from one training step to twice that step."""
    max_length: int = Field(ge=8)
    doc_stride: int = Field(default=128, ge=0)
    overflow: Overflow = "split"


class Evaluation(Frozen):
    """One task to score when training has ended, in every language, zero-shot."""

    task: str
    languages: tuple[str, ...]
    max_examples: int | None = Field(default=None, gt=0)
    """Largest number of examples per language: the first of a fixed shuffle; None is all."""
    max_length: int = Field(ge=8)
    doc_stride: int = Field(default=128, ge=0)
    overflow: Overflow = "split"


class Stage(Frozen):
    """One unit of work: train an intermediate, train a target, or evaluate retrieval."""

    kind: Kind
    scale: ScaleId
    train: tuple[Training, ...] = ()
    """Tasks to train on: one, or several for a multi-task intermediate; none for retrieval."""
    mixing: Mixing | None = None
    """How several tasks share the steps."""
    evaluate: tuple[Evaluation, ...] = ()
    """Tasks to score at the end."""
    parent: str | None = None
    """Key of the stage whose encoder this one starts from; None starts from the pretrained encoder."""
    seed: int = Field(ge=0, lt=2**63)
    """Decides heads, data order and dropout (see `trainers.stage.random`); 0 if nothing is random."""
    probes: tuple[Probe, ...] = ()
    """One probe per task: of an intermediate its own tasks, of a target those of its parent."""
    development_examples: int = Field(default=500, gt=0)
    """English development examples of the training task; not clearly above a constant answer a run has diverged."""
    data: dict[str, str]
    """Fingerprint of each split that is read: `<task>/<train|development|test>` → hash."""
    schema_version: int = SCHEMA_VERSION
    retry: int = Later(0, ge=0)
    """0 for the first attempt; n for the n-th repetition after attempts that diverged, with other random numbers."""
    intermediate: str = Cosmetic()
    """The arm that this stage belongs to: the intermediate's name, or `none`."""
    variant: dict[str, Setting] = Cosmetic(default_factory=dict)
    """Values that the sweep's search sets for this stage and its parent, shown to people; recipes hold them too."""

    @model_validator(mode="before")
    @classmethod
    def _of_this_version(cls, content: Any) -> Any:
        found = content.get("schema_version", SCHEMA_VERSION) if isinstance(content, dict) else SCHEMA_VERSION
        if found != SCHEMA_VERSION:
            raise ValueError(
                f"it is of version {found}, and this program reads version {SCHEMA_VERSION}: "
                "read it with the program that wrote it, or run the sweep again"
            )
        return content

    @model_validator(mode="after")
    def _whole(self) -> Stage:
        if (self.mixing is None) != (len(self.train) < 2):
            raise ValueError("a stage of several tasks says how they are mixed, and only such a stage")
        for field in SHARED_BY_TASKS if self.mixing else ():
            values = {training.task: getattr(training.recipe, field) for training in self.train}
            if len(set(values.values())) > 1:
                found = ", ".join(f"{task} {value}" for task, value in values.items())
                raise ValueError(f"one optimizer trains all tasks, so their {field} must be the same: {found}")
        probed = [probe.task for probe in self.probes]
        if len(set(probed)) < len(probed):
            raise ValueError(f"a task is probed in one way, but found {', '.join(probed)}")
        if self.kind == "retrieval" and self.train:
            raise ValueError("a retrieval stage trains nothing")
        if self.kind != "retrieval" and not self.train:
            raise ValueError(f"stage of kind {self.kind} names no task to train on")
        return self

    @cached_property
    def key(self) -> str:
        """Content address: equal work has an equal key."""
        return digest(self)

    @property
    def first_attempt(self) -> str:
        """Key of the attempt that this one repeats; its own where it is the first."""
        return self.model_copy(update={"retry": 0}).key if self.retry else self.key

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of a stage of one task; of several the first's, for what they share (`SHARED_BY_TASKS`)."""
        return self.train[0].recipe if self.train else None

    @property
    def probings_per_doubling(self) -> int:
        """How often the stage is probed: its tasks at the same steps."""
        return max((probe.per_doubling for probe in self.probes), default=1)

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the tasks trained on."""
        return tuple(training.task for training in self.train)

    @property
    def label(self) -> str:
        """What a person calls this stage, e.g. `large · mnli → xnli · seed 2`."""
        done = self.intermediate if self.kind == "intermediate" else f"{self.intermediate} → {self.ending}"
        attempt = [f"attempt {self.retry + 1}"] if self.retry else []
        return " · ".join([self.scale.name, done, *self.settings, f"seed {self.seed}", *attempt])

    @property
    def settings(self) -> list[str]:
        """The variant in words, e.g. `intermediate.learning_rate=1e-05`; floats in full, so that no two look alike."""
        return [f"{axis}={value}" for axis, value in sorted(self.variant.items())]

    @property
    def ending(self) -> str:
        """The evaluated tasks' names, joined by `+`."""
        return "+".join(evaluation.task for evaluation in self.evaluate)


class Execution(Frozen):
    """How a stage is carried out here: its speed and memory, never its result; not in the key."""

    micro_batch_tokens: int = Field(default=4096, gt=0)
    """Largest number of real tokens per micro-batch and rank; padding is not computed."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 if the device has it, fp32 on a CPU."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO stage; use the least that fits."""
    offload: bool = False
    """Keep fp32 weights and Adam's states in host memory, and run Adam there: the last resort; needs ZeRO-3."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass instead of keeping them."""
    graphs: bool = True
    """If the stage has one GPU, replay short micro-batches as CUDA graphs, so that the GPU need not wait for Python."""
    trim_vocabulary: bool = True
    """Keep only the embedding rows that the stage's data use; logits, losses and kept rows stay the same."""
    checkpoint_every_s: float = Field(default=300.0, ge=0)
    """Seconds between checkpoints."""
    threads: int | None = Field(default=None, gt=0)
    """CPU threads per process; None is torch's choice."""

    @model_validator(mode="after")
    def _can_be_done(self) -> Execution:
        if self.offload and self.zero_stage != 3:
            raise ValueError(f"offload needs ZeRO-3, not stage {self.zero_stage}: set zero_stage: 3, or offload: false")
        return self
