"""What the bootstrap of a full study takes, and how well so many resamples know a standard error, as a Markdown page.

python -m bench.resampling > docs/benchmarks/resampling.md          # two minutes
"""

from __future__ import annotations

import time

import numpy as np

from analysis.inference.statistics import RESAMPLES, Bootstrap, Examples, variances
from bench.measured import measured

MANY = 10_000
SCALES, INTERMEDIATES, TARGETS, SEEDS, LANGUAGES, EXAMPLES = 4, 11, 9, 5, 40, 1000
ARMS = SCALES * INTERMEDIATES * TARGETS
TIMED = 6
"""Arms that are timed; the others take as long."""
REPEATS = 200


def seconds_per_arm(resamples: int, rng: np.random.Generator, at_once: bool) -> float:
    """Of one arm's resampled means in all languages: together, or one after another."""
    scores = (rng.random((SEEDS, EXAMPLES, LANGUAGES)) < 0.7).astype(np.float64)
    parts = [scores] if at_once else [scores[..., [language]].copy() for language in range(LANGUAGES)]
    bootstrap = Bootstrap(rng, resamples)
    bootstrap.means(Examples.alike(parts[0]))  # draws once for all that follow
    started = time.perf_counter()
    for _ in range(TIMED):
        for part in parts:
            bootstrap.means(Examples.alike(part))
    return (time.perf_counter() - started) / TIMED


def error_of_error(resamples: int, rng: np.random.Generator) -> float:
    """By how much the standard error of one and the same study differs from draw to draw, as a share of itself."""
    by_seed, by_example = rng.normal(0, 0.02, (SEEDS, 1)), rng.normal(0, 0.4, (1, EXAMPLES))
    scores = Examples.alike(by_seed + by_example + rng.normal(0, 0.2, (SEEDS, EXAMPLES)))
    found = [np.sqrt(sum(variances(Bootstrap(rng, resamples).means(scores)))) for _ in range(REPEATS)]
    return float(np.std(found) / np.mean(found))


def main() -> None:
    rng = np.random.default_rng(0)
    rows = [
        f"| {resamples:,} | {ARMS * seconds_per_arm(resamples, rng, at_once=False):.0f} s "
        f"| {ARMS * seconds_per_arm(resamples, rng, at_once=True):.1f} s | {error_of_error(resamples, rng):.1%} |"
        for resamples in (RESAMPLES, MANY)
    ]
    chance = 1 / np.sqrt(2 * (SEEDS - 1))
    print(
        f"""# Resampling a full study

{measured("python -m bench.resampling")}.

{SCALES} scales × {INTERMEDIATES} intermediates × {TARGETS} targets × {SEEDS} seeds, each target in {LANGUAGES}
languages (XTREME's have 4 to 40) with {EXAMPLES:,} examples: {ARMS * LANGUAGES:,} resampled means, measured on
{TIMED} of the {ARMS} arms.
The report takes an arm's languages at once.

| resamples | one language after another | the languages of an arm at once | Monte Carlo error of a standard error |
|--:|--:|--:|--:|
{chr(10).join(rows)}

The last column is how much the standard error of one study differs from draw to draw. {SEEDS} seeds themselves know a
standard deviation over seeds to {chance:.0%}."""
    )


if __name__ == "__main__":
    main()
