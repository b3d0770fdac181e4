"""Published numbers of XLM-R on XTREME, and the bands within which a sound baseline falls.  All in points (0 to 100).

Each was read in the named source, or is recalled and marked as such: it is shown, and nothing is judged by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainers.stage.scales import KNOWN
from trainers.tasks.intermediates import NONE

BEST = "best"
"""In place of an intermediate: for each target the one that did best."""
MEAN = "mean of nine"
"""In place of a task: XTREME's overall score, QA counting (F1 + EM) / 2."""

Points = tuple[float, ...]
"""A score; of question answering F1 and exact match, or F1 alone."""


@dataclass(frozen=True)
class Run:
    """One published row: an encoder's scores, all got in one setting."""

    scale: str
    source: str
    setting: str
    scores: Mapping[str, Points]
    """By task, the mean over its languages, English included."""
    intermediate: str = NONE
    recalled: frozenset[str] = field(default_factory=frozenset)
    """Tasks whose numbers (or whose EM) were not read in the source."""

    @property
    def zero_shot(self) -> bool:
        """Whether ours may be compared: it saw no translated training data."""
        return self.setting != TRANSLATED


HU = "Hu et al. 2020 (XTREME), as copied in multilingual-t5's README and VECO's table"
ALIGN = "XLM-Align's own runs, model card of microsoft/xlm-align-base"
GOYAL = "Goyal et al. 2021 (XLM-R XL/XXL), fairseq's README"
PHANG = "Phang et al. 2020 (X-STILTs), as copied in multilingual-t5's README"
PHANG_ABSTRACT = "Phang et al. 2020 (X-STILTs), abstract"
PHANG_NUMBER = "Phang et al. 2020 (X-STILTs); the number as copied in multilingual-t5's README"
PHANG_QUOTED = "Phang et al. 2020 (X-STILTs), as quoted in the study description that this project was built from"
JIANT = "Phang's replication for X-STILTs, jiant-dev PR #128"

ZERO_SHOT = "zero-shot, test"
TRANSLATED = "translate-train-all, test: trained on translations too, so not zero-shot"
LAYER_14 = "layer 14, mean pooling, dev"

RUNS: tuple[Run, ...] = (
    Run(
        "large",
        HU,
        ZERO_SHOT,
        {
            "xnli": (79.2,),
            "pawsx": (86.4,),
            "udpos": (72.6,),
            "panx": (65.4,),
            "xquad": (76.6, 60.8),
            "mlqa": (71.6, 53.2),
            "tydiqa": (65.1, 45.0),
            "bucc": (66.0,),
            "tatoeba": (57.3,),
            MEAN: (68.1,),
        },
        recalled=frozenset({"udpos", "tydiqa"}),
    ),
    Run("large", JIANT, LAYER_14, {"bucc_dev": (71.5,), "tatoeba": (31.0,)}),
    Run("large", GOYAL, ZERO_SHOT, {"mlqa": (70.7, 52.7)}),
    Run("large", GOYAL, TRANSLATED, {"xnli": (83.6,)}),
    Run(
        "large",
        PHANG,
        "zero-shot, test, the best intermediate of each target",
        {
            "xnli": (80.4,),
            "pawsx": (87.7,),
            "panx": (64.7,),
            "xquad": (77.2,),
            "mlqa": (72.3,),
            "tydiqa": (76.0,),
            "bucc": (71.9,),
            "tatoeba": (81.2,),
            MEAN: (73.5,),
        },
        intermediate=BEST,
        recalled=frozenset({"bucc", "tatoeba", MEAN}),
    ),
    Run(
        "base",
        ALIGN,
        ZERO_SHOT,
        {
            "xnli": (75.0,),
            "pawsx": (84.9,),
            "udpos": (75.6,),
            "panx": (61.8,),
            "xquad": (71.9, 56.4),
            "mlqa": (65.1, 47.2),
            "tydiqa": (55.4, 38.3),
        },
    ),
    Run("xl", GOYAL, ZERO_SHOT, {"mlqa": (73.4, 55.3)}),
    Run("xl", GOYAL, TRANSLATED, {"xnli": (85.4,)}),
    Run("xxl", GOYAL, ZERO_SHOT, {"mlqa": (74.8, 56.6)}),
    Run("xxl", GOYAL, TRANSLATED, {"xnli": (86.0,)}),
)


@dataclass(frozen=True)
class Band:
    """Where the primary metric of a sound `none → target` baseline falls, bounds included."""

    low: float
    high: float
    source: str
    layer: int | None = None
    """The only layer for which it holds (retrieval moves by tens of points with the layer)."""

    def holds(self, points: float) -> bool:
        return self.low <= points <= self.high


AROUND = 1.5
"""Half the width of a band about a single published number: re-runs of XNLI and PAWS-X scatter as much."""
RERUNS = "published, and re-runs by others"


def _around(points: float, source: str, layer: int | None = None) -> Band:
    return Band(points - AROUND, points + AROUND, f"{source}, ± {AROUND}", layer)


BANDS: dict[tuple[str, str], Band] = {
    ("large", "xnli"): Band(79, 81, RERUNS),
    ("large", "pawsx"): Band(86, 87.5, RERUNS),
    ("large", "panx"): Band(63, 66, RERUNS),
    ("large", "xquad"): _around(76, RERUNS),
    ("large", "mlqa"): Band(70, 72, RERUNS),
    ("large", "tydiqa"): _around(65, HU),
    ("large", "tatoeba"): _around(31, JIANT, layer=14),
    ("large", "bucc_dev"): _around(71.5, JIANT, layer=14),
    ("base", "xnli"): Band(74, 76, RERUNS),
    ("base", "pawsx"): _around(85, ALIGN),
    ("base", "mlqa"): _around(65, ALIGN),
    ("xl", "mlqa"): _around(73.4, GOYAL),
    ("xxl", "mlqa"): _around(74.8, GOYAL),
}
"""By scale and task.  Where two published numbers rest on different data or protocols (UDPOS) there is none."""

OFFICIAL_EXAMPLES = {
    "xnli": 75_150,
    "pawsx": 14_000,
    "udpos": 102_119,
    "panx": 262_300,
    "xquad": 13_090,
    "mlqa": 42_245,
    "tydiqa": 5_077,
    "tatoeba": 31_692,
}
"""Test examples over all of a task's languages, on the hub; a mining task has no list of them."""


def published_name(scale: str) -> str:
    """The name under which a scale's numbers stand here: its own, or that of the hub's folder that it was read from."""
    folders = {known.hub_id.rpartition("/")[2]: name for name, known in KNOWN.items()}
    return folders.get(scale, scale)


def published_runs(scale: str) -> list[Run]:
    """What was published about a scale; nothing for the sandbox's."""
    return [run for run in RUNS if run.scale == published_name(scale)]


def band(scale: str, task: str) -> Band | None:
    """The band of a scale's baseline, if there is one."""
    return BANDS.get((published_name(scale), task))
