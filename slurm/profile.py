"""A cluster as `cluster.yaml` describes it: probed by `retain init`, anything in it may be overridden by hand.

The file's comments are this module's field docstrings, so they cannot drift apart.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from slurm.sizing.memory import Placement
from slurm.yaml_comments import commented


class ProfileError(ValueError):
    """Problems of a cluster file, all of them, one a line."""


def one_line(text: str) -> str:
    """The text itself.

    Raises:
        ValueError: it is empty, or holds a line break or another control character.
    """
    if not text.isprintable() or not text.strip():
        raise ValueError("must be one line of printable text")
    return text


Line = Annotated[str, AfterValidator(one_line)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._,@:+&|*()\[\]-]*$")]
"""What SLURM takes as a name: nothing that a shell or sbatch would read as something else."""
Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9][A-Za-z0-9.-]*$")]
"""One plain mail address."""


class Profile(BaseModel):
    """What `retain` needs to know about one partition of a cluster."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    cluster: str
    """Its name (scontrol show config: ClusterName)."""
    partition: Word
    """Where jobs go."""
    account: Word | None = None
    """Account that jobs are charged to; null is your default."""
    qos: Word | None = None
    """Quality of service; null is your default."""
    constraint: Word | None = None
    """Node features to ask for, e.g. a100_80."""
    exclude: Word | None = None
    """Nodes not to use, e.g. node[3,7]."""
    nodes: int = Field(ge=1)
    """Number of nodes in the partition; one stage never spans more."""
    gpus_per_node: int = Field(ge=0)
    """GPUs per node; 0 is a cluster of CPUs."""
    gpu: str | None = None
    """Name of the GPU, e.g. A100-80 (an error of retain plan lists all known names); null if it is not known."""
    gpu_memory_gib: float | None = Field(default=None, gt=0)
    """Memory of one GPU, which SLURM does not know; null takes it from the table."""
    gpu_request: Literal["gpus-per-node", "gres"] = "gpus-per-node"
    """How to request GPUs: --gpus-per-node needs select/cons_tres, older clusters take --gres."""
    gpu_type: Word | None = None
    """GPU type in the request (gpu:TYPE:2); null requests any."""
    cpus_per_rank: int = Field(ge=1)
    """CPU cores for each rank: a node's share per GPU."""
    memory_per_rank_gib: float | None = Field(default=None, gt=0)
    """Host memory for each rank: a node's share per GPU; null is the cluster's default."""
    time_limit_min: int = Field(ge=1)
    """Longest job, in minutes."""
    job_min: int = Field(default=240, ge=1)
    """Stages are bundled into jobs of about this many minutes.  Short jobs start sooner, long ones save start-ups."""
    max_array_size: int = Field(default=1001, ge=1)
    """Largest number of elements of one job array (SLURM's MaxArraySize)."""
    max_submitted: int | None = Field(default=None, ge=1)
    """Jobs that you may have in the queue at once; null is no limit."""
    max_running: int | None = Field(default=None, ge=1)
    """Elements of one array that may run at once; null is no limit."""
    signal_before_end_s: int = Field(default=120, ge=1)
    """Seconds before its time limit at which a job is told: enough to finish a step and write a checkpoint."""
    setup: tuple[Line, ...] = ()
    """Shell lines to run at the start of each job, e.g. `module load cuda`; they run exactly as written."""
    scratch: Line = "/tmp"
    """Node-local folder for caches; environment variables are expanded on the node."""
    mail: Address | None = None
    """SLURM mails this address when a submission starts, when an array has failed, and when the last one ends."""
    scales: dict[str, Placement] = Field(default_factory=dict)
    """Placements by scale, instead of what the memory model chooses, e.g. xl: {ranks_per_node: 4, zero_stage: 3}."""

    def misfit(self, placement: Placement) -> str | None:
        """Why a placement cannot be had here, naming the limit; None where it can."""
        most = self.gpus_per_node or None
        if most and placement.ranks_per_node > most:
            return (
                f"{placement.ranks_per_node} ranks per node need more GPUs than the {most} that a node of "
                f"partition {self.partition} has"
            )
        if placement.nodes > self.nodes:
            return f"{placement.nodes} nodes are more than the {self.nodes} of partition {self.partition}"
        return None


def load_profile(path: Path) -> Profile:
    """Read a cluster file.

    Raises:
        ProfileError: it cannot be read, is not YAML, or has mistakes: all of them, with what to do.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProfileError(f"{path}: does not exist; `retain init` writes it on the cluster") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: is not YAML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ProfileError(f"{path}: has no `key: value` lines; `retain init` writes a correct file")
    if content.pop("webhook_file", None) is not None:  # `retain init` used to write it as null
        raise ProfileError(f"{path}: webhook_file: is no longer used; SLURM itself mails the address in mail:")
    try:
        profile = Profile(**content)
    except ValidationError as error:
        raise ProfileError("\n".join(f"{path}: {problem}" for problem in sentences(error, Profile))) from error
    misfits = [
        f"{path}: scales.{name}: {why}"
        for name, placement in profile.scales.items()
        if (why := profile.misfit(placement))
    ]
    if misfits:
        raise ProfileError("\n".join(misfits))
    return profile


def nearest(name: str, valid: Iterable[str]) -> str:
    """`did you mean …?`, or the valid names where none is near."""
    valid = list(valid)
    close = difflib.get_close_matches(str(name), valid, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(valid)}"


def sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """What is wrong with the fields of a model, a sentence each, with the nearest name for one that is unknown."""
    return [_sentence(problem, _field_names(model)) for problem in error.errors()]


def _sentence(problem: Any, valid: Iterable[str]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key; {nearest(problem['loc'][-1], valid)}"
    if problem["type"] == "missing":
        return f"{where}: is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower() + message[1:]} (found {problem['input']!r})"


def _field_names(model: type[BaseModel]) -> list[str]:
    """The model's own, and those of its sections, also where they stand by name."""
    names = list(model.model_fields)
    for field in model.model_fields.values():
        for section in (field.annotation, *get_args(field.annotation)):
            if isinstance(section, type) and issubclass(section, BaseModel):
                names += _field_names(section)
    return names


def commented_yaml(profile: Profile, notes: dict[str, str]) -> str:
    """The cluster file: every field with its docstring above and where its value comes from beside it.

    Args:
        notes: by field, what was looked at; shown beside the value.
    """
    values = profile.model_dump(mode="json", exclude={"scales": {"__all__": {"why"}}})
    head = "# A cluster, as `retain init` found it.  Change anything; `retain init` never overwrites this file."
    return "\n".join([head, "", *commented(Profile, values, notes)])
