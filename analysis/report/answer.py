"""The answer in three sentences: what the head keeps, what the representation keeps, what is gained, each over scale.

Every sentence holds its effect with its 95 % interval, and its verdict only where that interval lies to one side of 0.
"""

from __future__ import annotations

from analysis.effects import Gains
from analysis.inference.effect import CannotTell, Effect, mean
from analysis.inference.statistics import FEWEST_SEEDS, Bootstrap
from analysis.measures.trends import different_task, pooled_trends
from analysis.report.findings import counted, listed, said, tally, verdict
from analysis.study import Study

READ_THROUGH = {"stored": "through the stored head", "refit": "in their representation (refit head)"}


def answer(study: Study, bootstrap: Bootstrap) -> list[str]:
    """Always three sentences; what the data cannot tell, they say.

    Args:
        bootstrap: that which drew the study.
    """
    return [*(_retained(study, head) for head in READ_THROUGH), _gained(study, bootstrap)]


def _retained(study: Study, head: str) -> str:
    slope = study.pooled_slopes.get(head)
    if slope is None:
        return (
            f"Whether larger encoders retain more {READ_THROUGH[head]}, the data cannot tell: no training on another "
            "task than the intermediate’s has a defined final retention at two scales or more, and at every scale "
            "where another has one."
        )
    own = pooled_trends(study.trends, head)
    if min(trend.seeds for trend in own) < FEWEST_SEEDS:
        return (
            f"Whether larger encoders retain more {READ_THROUGH[head]}, the data cannot tell: an arm has fewer than "
            f"{FEWEST_SEEDS} seeds."
        )
    others = sum(different_task(trend, head) for trend in study.trends) - len(own)
    left_out = f"; {others} more not defined at some of these scales" if others else ""
    trainings = len({trend.smallest.training for trend in own})
    probed = f" and their {len(own)} probed tasks" if len(own) > trainings else ""
    words = verdict(
        slope,
        f"larger encoders retain more {READ_THROUGH[head]}",
        f"larger encoders retain less {READ_THROUGH[head]}",
        f"the data cannot tell whether larger encoders retain more or less {READ_THROUGH[head]}",
    )
    return (
        f"{words[0].upper()}{words[1:]}: final English retention changes by {said(slope, sign=True)} per tenfold "
        f"non-embedding parameters (over {listed(own[0].scales)}; mean of {counted(trainings, 'training')} on another "
        f"task than the intermediate’s{probed}{left_out}). Training by training, it "
        f"{tally([trend.overall for trend in own])}."
    )


def _gained(study: Study, bootstrap: Bootstrap) -> str:
    """What intermediates add to zero-shot scores, at the smallest and the largest scale where that is known."""
    known: dict[str, dict[str, Effect]] = {}
    why = "no gain over no intermediate is known"
    for scale in study.scales:
        gains = Gains(study, scale, bootstrap)
        for intermediate in gains.intermediates:
            try:
                known.setdefault(scale, {})[intermediate] = gains.average(intermediate)
            except CannotTell as reason:
                why = f"at {scale}, {reason}"
    opening = "What intermediate training adds to zero-shot scores"
    if not known:
        return f"{opening}, the data cannot tell: {why}."
    first, last = next(iter(known)), list(known)[-1]
    common = [name for name in known[first] if name in known[last]]
    if not common:
        return f"{opening}, the data cannot tell of more than one scale: {first} and {last} share no intermediate yet."
    try:
        small, large = (mean([known[scale][name] for name in common]) for scale in (first, last))
        change = (large - small).estimate(bootstrap)
    except CannotTell as reason:
        return f"{opening}, the data cannot tell of more than one scale: {reason}."
    among = "" if len(common) == len(gains.intermediates) else f"{len(common)} of "
    averaged = (
        f"mean over {among}{counted(len(gains.intermediates), 'intermediate')}, "
        f"all {counted(len(gains.targets), 'target')} and their languages"
    )
    at_first, at_last = (said(effect.estimate(bootstrap), sign=True) for effect in (small, large))
    if first == last:
        return f"{opening} at {first} is {at_first} ({averaged}); of its change with scale the data cannot tell."
    words = verdict(
        change,
        "it grows with scale",
        "it shrinks with scale",
        "the data cannot tell whether it grows or shrinks with scale",
    )
    return (
        f"{opening} goes from {at_first} at {first} to {at_last} at {last} "
        f"({averaged}): {words}, the difference being {said(change, sign=True)}."
    )
