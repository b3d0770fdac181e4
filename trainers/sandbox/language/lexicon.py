"""The sandbox's words and word order: every concept in English, German, Russian, Swahili and Chinese.

The words are in `words.txt`; here are endings, agreement and the order of words, which `grammar` works by.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

LANGUAGES = ("en", "de", "ru", "sw", "zh")

# The names are written in Latin script in all five languages, and so are not declined in Russian.
NAMES = {
    "f": ("Anna", "Clara", "Eva", "Lena", "Nina", "Sara", "Amina", "Mei"),
    "m": ("Ben", "David", "Felix", "Ivan", "Omar", "Tom", "Juma", "Wei"),
}
# Known to the encoders, never used in MNLI's training set: they make validation_mismatched another genre.
HELD_OUT_NAMES = {"f": ("Maria", "Olga", "Zawadi"), "m": ("Peter", "Baraka", "Leo")}

YEAR_PHRASE = {"en": "in {}", "de": "im Jahr {}", "ru": "в {} году", "sw": "mwaka {}", "zh": "{}年"}
YEARS = range(2000, 2020)


class Entry(NamedTuple):
    """One concept: its kind, and for every language the tuple of its forms, in the order its table states."""

    kind: str
    forms: dict[str, tuple[str, ...]]
    objects: tuple[str, ...] = ()


def _read(path: Path) -> dict[str, list[str]]:
    """The rows of each section of words.txt."""
    sections: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            rows = sections[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            rows.append(line)
    return sections


_ROWS = _read(Path(__file__).with_name("words.txt"))


def _table(section: str, kinds: bool = True, objects: bool = False) -> dict[str, Entry]:
    """A section's concepts: a column of kinds and one of object kinds may precede the languages."""
    entries = {}
    for row in _ROWS[section]:
        cells = [cell.strip() for cell in row.split("|")]
        concept, words = cells[0], cells[-len(LANGUAGES) :]
        assert len(cells) == 1 + kinds + objects + len(LANGUAGES), f"the lexicon's row {row!r} has a wrong width"
        forms = {language: tuple(cell.split("/")) for language, cell in zip(LANGUAGES, words, strict=True)}
        entries[concept] = Entry(cells[1] if kinds else "", forms, tuple(cells[2].split()) if objects else ())
    return entries


OBJECTS = _table("objects")
BEINGS = _table("beings")
ADJECTIVES = _table("adjectives")
NUMERALS = {int(number): entry for number, entry in _table("numerals", kinds=False).items()}
PLACES = _table("places")
TIMES = _table("times")
VERBS = _table("verbs", objects=True)
STATES = _table("states", objects=True)
WEATHER = _table("weather", kinds=False)

# What follows from the words: a bought thing was also got; nobody is happy and sad at once.
GENERAL_VERB = {"buy": "get", "steal": "take"}
_OPPOSITES = (
    "buy sell, find lose, happy sad, angry calm, hungry full, sick healthy, big small, new old, expensive cheap"
)
OPPOSITES = {
    first: second for pair in _OPPOSITES.split(", ") for first, second in (pair.split(), reversed(pair.split()))
}
# Two ways to tell one transfer: who gives, and who is given.
CONVERSES = {"give": "receive", "vend": "purchase"}

# Endings by gender and case; Russian: nom m, nom f, nom n, acc f, gen m (also acc of animate m), gen pl.
GERMAN_ACCUSATIVE = {"m": ("einen", "keinen", "en"), "f": ("eine", "keine", "e"), "n": ("ein", "kein", "es")}
GERMAN_DEFINITE = {"m": "der", "f": "die", "n": "das"}
GERMAN_RELATIVE_ACCUSATIVE = {"m": "den", "f": "die", "n": "das"}
RUSSIAN_ENDINGS = {
    "hard": ("ый", "ая", "ое", "ую", "ого", "ых"),
    "soft": ("ий", "яя", "ее", "юю", "его", "их"),
    "velar": ("ий", "ая", "ое", "ую", "ого", "их"),
    "stressed": ("ой", "ая", "ое", "ую", "ого", "их"),
}
RUSSIAN_WHICH_ACCUSATIVE = {"m": "который", "f": "которую", "n": "которое", "animate m": "которого"}

# Swahili agreement by noun class: prefix before a vowel stem (-ekundu), before a consonant stem (-kubwa), before a
# numeral, the connective, "that", "was".
SWAHILI_PLURAL_CLASS = {1: 2, 3: 4, 5: 6, 7: 8, 9: 10, 11: 10}
SWAHILI_CONCORDS = {
    1: ("mw", "m", "m", "wa", "ambaye", "alikuwa"),
    2: ("w", "wa", "wa", "wa", "ambao", "walikuwa"),
    3: ("mw", "m", "m", "wa", "ambao", "ulikuwa"),
    4: ("my", "mi", "mi", "ya", "ambayo", "ilikuwa"),
    5: ("j", "", "", "la", "ambalo", "lilikuwa"),
    6: ("m", "ma", "ma", "ya", "ambayo", "yalikuwa"),
    7: ("ch", "ki", "ki", "cha", "ambacho", "kilikuwa"),
    8: ("vy", "vi", "vi", "vya", "ambavyo", "vilikuwa"),
    9: ("ny", "", "", "ya", "ambayo", "ilikuwa"),
    10: ("ny", "", "", "za", "ambazo", "zilikuwa"),
    11: ("mw", "m", "m", "wa", "ambao", "ulikuwa"),
}
# Where the rule prefix + stem fails.
SWAHILI_IRREGULAR = {
    ("dogo", 9): "ndogo", ("dogo", 10): "ndogo", ("pya", 9): "mpya", ("pya", 10): "mpya", ("pya", 5): "jipya",
    ("wili", 10): "mbili",
}  # fmt: skip

# The order of a sentence's parts; "source" is whom a thing is got from, "not" and "complement" belong to the verb.
STATEMENT_ORDER = {
    "en": "agent verb person thing source complement place time",
    "de": "agent verb person source time not place thing complement",
    "ru": "agent verb person source thing place time",
    "sw": "agent verb person thing source place time",
    "zh": "agent time not place source verb person thing complement",
}
# Swahili and Chinese ask in place: their question is the statement with the asked slot replaced.
QUESTION_ORDER = {
    "en": "wh auxiliary agent base person thing source complement place time",
    "de": "wh verb agent person source time place thing complement",
    "ru": "wh agent verb person source thing place time",
}
QUESTION_WORDS = {
    "en": {"agent": "who", "person": "who", "thing": "what", "place": "where", "time": "when", "number": "how many"},
    "de": {"agent": "wer", "person": "wen", "thing": "was", "place": "wo", "time": "wann", "number": "wie viele"},
    "ru": {"agent": "кто", "person": "кого", "thing": "что", "place": "где", "time": "когда", "number": "сколько"},
    "sw": {"agent": "nani", "person": "nani", "thing": "nini", "place": "wapi", "time": "lini", "number": "ngapi"},
    "zh": {"agent": "谁", "person": "谁", "thing": "什么", "place": "在哪里", "time": "什么时候", "number": "几"},
}
COLOUR_QUESTION = {
    "en": "What colour was the {noun} that {agent} {verb} {person} {source} {place} {time}?",
    "de": "Welche Farbe hatte {the} {noun}, {which} {agent} {person} {source} {time} {place} {verb}?",
    "ru": "Какого цвета {noun}, {which} {agent} {verb} {person} {source} {place} {time}?",
    "sw": "{noun} {which} {agent} {verb} {person} {source} {place} {time} {was} {of} rangi gani?",
    "zh": "{agent}{time}{place}{source}{verb}{person}的{noun}是什么颜色的？",
}
SOURCE = {"en": "from {}", "de": "von {}", "ru": "у {}", "sw": "kutoka kwa {}", "zh": "从{}那里"}
WEATHER_AGENT = {"en": "it", "de": "es"}
# What a second speaker answers where the fact follows, may be, or cannot be.
REPLIES = {
    "en": ("Yes", "Maybe", "No"),
    "de": ("Ja", "Vielleicht", "Nein"),
    "ru": ("Да", "Возможно", "Нет"),
    "sw": ("Ndiyo", "Labda", "Hapana"),
    "zh": ("对", "也许", "不对"),
}
COMMA = {"en": ", ", "de": ", ", "ru": ", ", "sw": ", ", "zh": "，"}
CONNECTIVE = {"en": ", and ", "de": " und ", "ru": ", а ", "sw": ", na ", "zh": "，而"}
END = {"en": ".", "de": ".", "ru": ".", "sw": ".", "zh": "。"}
QUESTION_END = {"en": "?", "de": "?", "ru": "?", "sw": "?", "zh": "？"}
GAP = {"en": " ", "de": " ", "ru": " ", "sw": " ", "zh": ""}
