"""What the real DeepSpeed engine holds on a CPU, beside what slurm/sizing/memory.py says, under every ZeRO stage."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launch.estimate.costs import model_size
from slurm.sizing.memory import Placement, peak
from trainers.stage import Execution
from trainers.stage.scales import SANDBOX, Shape, locate

CHECKOUT = Path(__file__).resolve().parents[1]
EXECUTIONS = tuple(
    Execution(precision=precision, zero_stage=stage, offload=offload)
    for precision in ("fp32", "bf16")
    for stage, offload in ((0, False), (1, False), (2, False), (3, False), (3, True))
)


@dataclass(frozen=True)
class Held:
    """Weights, gradients and Adam states of one rank."""

    scale: str
    parameters: int
    execution: Execution
    world_size: int
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1


def measure(folder: Path, world_sizes: Sequence[int] = (1, 2), scales: Sequence[str] = SANDBOX) -> list[Held]:
    """Train two steps of each scale under each precision, sharding and world size.

    Args:
        folder: for the files that the ranks read and write.
    """
    cases = [(name, locate(name).shape, execution) for name in scales for execution in EXECUTIONS]
    jobs = folder / "jobs.json"
    jobs.write_text(json.dumps([{"shape": asdict(shape), "execution": how.model_dump()} for _, shape, how in cases]))
    found = []
    for world_size in world_sizes:
        measured = _on_ranks(jobs, folder / f"held-{world_size}.json", world_size)
        for (name, shape, execution), held in zip(cases, measured, strict=True):
            found.append(_beside(name, shape, execution, world_size, held))
    return found


def _beside(name: str, shape: Shape, how: Execution, world_size: int, measured: float) -> Held:
    assert how.precision != "auto"
    model = model_size(shape)
    placement = Placement(ranks_per_node=world_size, zero_stage=how.zero_stage, offload=how.offload)
    parts = peak(model, placement, how.precision)
    # Here the host's memory is the device's.
    predicted = parts.states + parts.host * how.offload
    return Held(name, model.parameters, how, world_size, predicted, measured)


def _on_ranks(jobs: Path, out: Path, world_size: int) -> list[float]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("engine_memory.py")), str(jobs), str(out)]
    processes = []
    for rank in range(world_size):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_PORT": port}
        environment = {**os.environ, **{name: str(value) for name, value in place.items()}, "MASTER_ADDR": "127.0.0.1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), environment.get("PYTHONPATH")]))
        with out.with_suffix(f".{rank}.log").open("w") as log:
            processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT))
    codes = [process.wait() for process in processes]
    if any(codes):
        raise RuntimeError(f"ranks ended with {codes}: {out.with_suffix('.0.log').read_text()[-3000:]}")
    measured: list[Any] = json.loads(out.read_text())
    return [float(value) for value in measured]
