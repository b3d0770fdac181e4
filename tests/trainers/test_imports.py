"""What a stage on one rank does not need is not imported: every process of a sweep would wait for it."""

from __future__ import annotations

import subprocess
import sys

from tests.trainers.stages import CHECKOUT, plan_stages

NOT_NEEDED = (
    *("transformers", "accelerate", "deepspeed", "wandb", "datasets", "huggingface_hub"),
    *("torch._dynamo", "torch._inductor", "torch.distributed.tensor", "sympy"),
    *("scipy", "sklearn", "matplotlib", "submitit"),
)
RUN = f"""
import sys
from pathlib import Path
from trainers.data.mirror import Mirror
from trainers.run import Context, run
from trainers.stage import Stage
from trainers.store import Store
from trainers.store.tracking import Tracking

for line in sys.stdin:
    run(Stage.model_validate_json(line), Context(Store(Path(sys.argv[1])), Mirror(Path(sys.argv[2])),
        tracking=Tracking(mode="disabled")))
print("IMPORTED", [name for name in {NOT_NEEDED} if name in sys.modules])
"""


def test_stages_of_every_kind_import_only_what_they_need(mirror, encoder_folder, tmp_path, cold):
    """An intermediate, a target with probes, and retrieval, each carried out to its result in a fresh interpreter."""
    folder = encoder_folder("post")
    stages = [*plan_stages(mirror, folder, max_steps=2), plan_stages(mirror, folder, "none", "tatoeba")[-1]]
    assert {stage.kind for stage in stages} == {"intermediate", "target", "retrieval"}
    lines = "\n".join(stage.model_dump_json() for stage in stages)
    command = [sys.executable, "-c", RUN, str(tmp_path / "store"), str(mirror.root)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.stdout.splitlines()[-1:] == ["IMPORTED []"], done.stdout + done.stderr
    assert len([*(tmp_path / "store" / "stages").glob("*/result.json")]) == len(stages)
