"""Pre-train the sandbox's three encoders, the way the shipped folders beside this file were made.

    OMP_NUM_THREADS=1 python -m trainers.data.pretraining OUT_DIR             # about half an hour on one core
    OMP_NUM_THREADS=1 python -m trainers.data.pretraining OUT_DIR --steps 150 # a quick, weak set

One SentencePiece-like tokeniser, then three encoders of XLM-R's architecture, trained by masked language modelling on
the same batches for the same number of steps: what differs between the scales is the scale alone.  Half of the
sequences are translations side by side (translation language modelling, Conneau & Lample 2019, section 3.3), a quarter
is monolingual, a quarter is code-switched.  Text is drawn from the same world as the tasks with another seed; it holds
no labels and no answers, but a short sentence can occur in both.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from random import Random

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

from trainers.data import items, world
from trainers.data.grammar import GAP, Segment, join, question, segments
from trainers.data.lexicon import LANGUAGES

SEED = 20261122
VOCABULARY = 2000
MAX_TOKENS = 128
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")  # XLM-R's ids 0 to 3; <mask> comes last
WORD_JOINER = "\u2060"  # stands between the words of scripts without spaces while the tokeniser is trained
STEPS = 2600
BATCH_TOKENS = 2048
MASKED_SHARE = 0.2
LEARNING_RATE = 1.5e-3
WARM_UP_SHARE = 0.1
WEIGHT_DECAY = 0.01
DROPOUT = 0.1  # of the saved configuration, for fine-tuning; pre-training sees no text twice and runs without


@dataclass(frozen=True)
class Shape:
    """One scale's architecture; the feed-forward layer is four times the hidden size, as in XLM-R."""

    layers: int
    hidden: int
    heads: int


SHAPES = {"sandbox-s": Shape(3, 48, 4), "sandbox-m": Shape(4, 96, 4), "sandbox-l": Shape(6, 144, 6)}

# A document is one text, or two that go into one input as XLM-R's pair; words that touch are kept as segments.
Text = list[Segment]
Document = tuple[Text, ...]


# --- text ------------------------------------------------------------------------------------------------------------


def _sentence(utterance: items.Utterance, language: str) -> Text:
    clause, front = utterance
    return _spaced(segments(clause, language, front), language)


def _spaced(parts: Sequence[Segment], language: str) -> Text:
    gap = GAP[language] or WORD_JOINER
    words = [piece for part in parts for piece in (part, (gap, "gap"))]
    end = "。" if language == "zh" else "."
    text = join(words[:-1], "", WORD_JOINER + end).text
    return [(text, language)]


def _code_switched(utterance: items.Utterance, random: Random) -> Text:
    """The sentence in one language's order, with some of its parts spoken in another."""
    outer, inner = random.sample(LANGUAGES, 2)
    clause, front = utterance
    by_slot: dict[str, list[Segment]] = defaultdict(list)
    for text, slot in segments(clause, inner):
        by_slot[slot.split(".")[0]].append((text, slot))
    parts: list[str] = []
    for slot, group in groupby(segments(clause, outer, front), key=lambda segment: segment[1].split(".")[0]):
        switched = slot in by_slot and random.random() < 0.5
        words, language = (by_slot[slot], inner) if switched else (list(group), outer)
        parts.append((GAP[language] or WORD_JOINER).join(text for text, _ in words))
    text = " ".join(parts)
    return [(text[0].upper() + text[1:] + ".", "mixed")]
