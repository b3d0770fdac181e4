"""The refit head: is it one instrument at every width, and does it find what an intermediate taught a real encoder?

    python -m bench.refit > docs/benchmarks/refit.md                          # simulated features alone
    python -m bench.refit --encoder FOLDER --mirror MIRROR                    # and MNLI on a real encoder

Simulated: 20 hidden numbers tell three classes, and are seen through 768 to 4,096 features with as much noise for each
of the numbers at every width; 500 examples are fitted, 2,000 scored, the mean of several worlds.  Beside it stands what
the probe was before (ridge 0.001 on all standardised features), and labels at random (the control task).

Real: MNLI is trained on the encoder without dropout, and probed before and after with its development set.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.measured import measured
from launch.study.plan import make_plan, mirror_of
from launch.study.sweep import Sweep
from trainers.measure.refit import LBFGS, Examples, dimensions, fit, folds, principal
from trainers.run import Context, run
from trainers.stage import Execution
from trainers.store import Store
from trainers.store.tracking import Tracking

WIDTHS = (768, 1024, 2560, 4096)
REFIT, SCORED = 500, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--encoder", type=Path, help="a real encoder's folder")
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--examples", type=int, default=1000, help="scored by the probes")
    options = parser.parse_args()
    print(f"# The refit head\n\n{measured('python -m bench.refit', 'torch')}\n")
    print("| features | P | P before | control |\n|---|---|---|---|")
    for width in WIDTHS:
        found = np.mean([simulated(seed, width) for seed in range(options.worlds)], axis=0)
        print(f"| {width:,} | " + " | ".join(f"{value:.3f}" for value in found) + " |", flush=True)
    if options.encoder:
        print("\n| MNLI on the real encoder | score |\n|---|---|")
        for measure, value in real(options).items():
            print(f"| {measure} | {value:.3f} |")


def simulated(seed: int, width: int) -> tuple[float, float, float]:
    """P, P by the probe of before, and P of the control task."""
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(REFIT + SCORED, 20, generator=random)
    told = hidden @ torch.randn(20, 3, generator=random)
    classes = (told + 0.5 * torch.randn(len(hidden), 3, generator=random)).argmax(1)
    control = classes.clone()
    control[:REFIT] = control[torch.randperm(REFIT, generator=random)]
    features = hidden @ (torch.randn(20, width, generator=random) / 20**0.5)
    features += (width / 768) ** 0.5 * torch.randn(len(hidden), width, generator=random)
    return probed(features, classes), probed_before(features, classes), probed(features, control)


def probed(features: Tensor, classes: Tensor) -> float:
    numbers = principal(features[:REFIT], dimensions(REFIT, features.shape[1]))(features)
    fitted = fit(Examples(numbers[:REFIT], classes[:REFIT], torch.from_numpy(folds(np.arange(REFIT))), 3))
    answers = (numbers @ fitted.weight[-1].T + fitted.bias[-1]).argmax(1)
    return float((answers == classes)[REFIT:].double().mean())


def probed_before(features: Tensor, classes: Tensor) -> float:
    mean, deviation = features[:REFIT].mean(0), features[:REFIT].std(0) + 1e-6
    numbers, head = (features - mean) / deviation, torch.nn.Linear(features.shape[1], 3)
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = LBFGS(head.parameters(), max_iter=16, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = sum(parameter.square().sum() for parameter in head.parameters())
        loss = F.cross_entropy(head(numbers[:REFIT]), classes[:REFIT]) + 1e-3 * penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    return float((head(numbers).argmax(1) == classes)[REFIT:].double().mean())


def real(options: argparse.Namespace) -> dict[str, float]:
    """Measure → MNLI's accuracy in English: P_base, then A(0) and P(0), and P without each fold."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = Path(folder, "encoder")
        shutil.copytree(options.encoder, encoder)
        config = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (encoder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        recipe = {"max_steps": options.steps, "batch_size": 32, "learning_rate": 1e-4, "max_length": 64}
        sweep = Sweep(
            name="refit",
            store=Path(folder, "store"),
            mirror=options.mirror,
            scales=(str(encoder),),
            targets=("pawsx",),
            intermediates=("mnli",),
            seeds=(1,),
            languages=("en",),
            overrides={"intermediate.mnli": recipe},
            probe={"examples": options.examples},
        )
        stage = make_plan(sweep).stages[0]
        store = Store(sweep.store)
        run(stage, Context(store, mirror_of(sweep), execution=Execution(), tracking=Tracking(mode="disabled")))
        return {
            f"{event['measure']}, step {event['at']}": event["value"]
            for event in store.entry(stage.key).events("measured")
        }


if __name__ == "__main__":
    main()
