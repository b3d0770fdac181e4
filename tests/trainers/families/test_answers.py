"""Answers are compared by SQuAD's rules and by MLQA's: against a second, regex-free reading of both."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.families import span

LANGUAGES = ("en", "es", "hi", "vi", "de", "ar", "zh")
ARTICLES = {
    "en": "a an the",
    "es": "un una unos unas el la los las",
    "vi": "của là cái chiếc những",
    "de": "ein eine einen einem eines einer der die das den dem des",
}
PIECES = (
    *(word for words in ARTICLES.values() for word in words.split()),
    *("The", "THEATRE", "U.S.", "1,000", "re-do", "don't", "«да»", "$5", "x_y", "İ", "straße", "e\u0301", "e\u0338"),
    *(
        "ال",
        "الكتاب",
        "كتاب، قلم",
        "\u200fنص",
        "कि ताब।",
        "हिं",
        "ที่",
        "ประเทศไทย",
        "中国",
        "中国a中",
        "，",
        "。",
        "龥龦㐀",
    ),
    *("the\u0301", "a\u0308n", "𠀀", "\U0001f600", "a\u00a0the", "\u3000", "\t", " ", "", "-", "…", "–", "٪"),
)
phrases = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=6).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.text(max_size=12),
)
golds_of_a_question = st.lists(phrases, min_size=1, max_size=3)


def is_of_a_word(character: str) -> bool:
    """What a regular expression calls a word's character: letters, digits and _; combining marks are none."""
    return character.isalnum() or character == "_"


def without(text: str, articles: set[str]) -> str:
    """Runs of word characters that are an article become a space: read character by character."""
    kept, run = [], ""
    for character in [*text, ""]:
        if character and is_of_a_word(character):
            run += character
            continue
        kept.append(" " if run in articles else run)
        kept.append(character)
        run = ""
    return "".join(kept)


def squad_tokens(text: str) -> list[str]:
    ascii_punctuation = {chr(code) for code in range(33, 127) if not chr(code).isalnum()}
    return without("".join(c for c in text.lower() if c not in ascii_punctuation), set(ARTICLES["en"].split())).split()


def mlqa_tokens(text: str, language: str) -> list[str]:
    ascii_symbols = "$+<=>^`|~"  # SQuAD's ASCII punctuation that Unicode calls symbols
    kept = "".join(c for c in text.lower() if c not in ascii_symbols and not unicodedata.category(c).startswith("P"))
    if language == "ar":
        kept = " ".join(kept.split("ال"))
    kept = without(kept, set(ARTICLES.get(language, "").split()))
    if language != "zh":
        return kept.split()
    return "".join(f" {c} " if 0x4E00 <= ord(c) <= 0x9FA5 else c for c in kept).split()


def overlap_f1(predicted: list[str], gold: list[str]) -> float:
    """Harmonic mean of precision and recall, by crossing shared tokens out one at a time."""
    left, shared = list(gold), 0
    for token in predicted:
        if token in left:
            left.remove(token)
            shared += 1
    return 0.0 if not shared else 2 / (len(predicted) / shared + len(gold) / shared)


def best(predicted: list[str], golds: list[list[str]], unanswerable: bool = False) -> tuple[float, float]:
    """F1 and exact match of a question, as the official scripts of SQuAD v1.1 (and MLQA) or of v2 tell them."""
    told = [gold for gold in golds if gold] if unanswerable else golds
    if not told:
        return float(not predicted), float(not predicted)
    return max(overlap_f1(predicted, gold) for gold in told), float(predicted in told)


@pytest.mark.slow
@settings(max_examples=500)
@given(phrases)
def test_squad_tokens_are_those_of_a_regex_free_reading(text):
    assert span.squad_tokens(text, "en") == squad_tokens(text)


@settings(max_examples=500)
@given(phrases, st.sampled_from(LANGUAGES))
def test_mlqa_tokens_are_those_of_a_regex_free_reading(text, language):
    assert span.mlqa_tokens(text, language) == mlqa_tokens(text, language)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.lists(st.tuples(phrases, golds_of_a_question), max_size=5), st.sampled_from([None, *LANGUAGES]), st.booleans()
)
def test_scores_are_the_best_over_the_gold_answers(questions, language, unanswerable):
    name, tokens = ("mlqa", lambda t: mlqa_tokens(t, language)) if language else ("squad", squad_tokens)
    predictions, golds = [p for p, _ in questions], [golds for _, golds in questions]
    f1s, exact = span.answer_scores(name, language or "th", predictions, golds, unanswerable)
    expected = [best(tokens(p), [tokens(gold) for gold in golds], unanswerable) for p, golds in questions]
    np.testing.assert_allclose(f1s, [f1 for f1, _ in expected], rtol=1e-14)
    assert exact.tolist() == [match for _, match in expected]


@given(phrases, golds_of_a_question, st.sampled_from(LANGUAGES))
def test_scores_lie_between_exact_match_and_one(prediction, golds, language):
    for name, tokens in span.TOKENS.items():
        f1s, exact = span.answer_scores(name, language, [prediction], [golds])
        assert exact[0] in (0, 1)
        assert f1s[0] <= 1
        assert exact[0] <= f1s[0] or not tokens(prediction, language)


def score(name: str, language: str, prediction: str, *golds: str, unanswerable: bool = False) -> tuple[float, float]:
    f1s, exact = span.answer_scores(name, language, [prediction], [list(golds)], unanswerable)
    return f1s[0], exact[0]


def test_f1_has_xtremes_last_digit():
    predicted, gold = ["x", "y", "z", "u", "v"], ["x", "y", "z"]
    assert span.token_f1(predicted, gold) == (2 * (3 / 5) * (3 / 3)) / (3 / 5 + 3 / 3)
    others = [(shared, extra, lost) for shared in range(1, 12) for extra in range(12) for lost in range(12)]
    for shared, extra, lost in others:
        precision, recall = shared / (shared + extra), shared / (shared + lost)
        predicted = [*map(str, range(shared)), *["extra"] * extra]
        gold = [*map(str, range(shared)), *["lost"] * lost]
        assert span.token_f1(predicted, gold) == (2 * precision * recall) / (precision + recall)


def test_squad_leaves_chinese_unsplit_so_that_its_f1_collapses_to_exact_match():
    assert score("squad", "zh", "中国人民", "中国") == (0, 0)
    assert score("mlqa", "zh", "中国人民", "中国") == (pytest.approx(2 / 3), 0)


def test_squad_leaves_thai_unsplit():
    assert score("squad", "th", "ประเทศไทย", "ไทย") == (0, 0)


def test_squad_keeps_punctuation_outside_ascii_and_mlqa_drops_it():
    for text, bare, language in (
        ("«Madrid»", "Madrid", "es"),
        ("كتاب،", "كتاب", "ar"),
        ("中国。", "中国", "zh"),
        ("किताब।", "किताब", "hi"),
    ):
        assert score("squad", language, text, bare)[1] == 0
        assert score("mlqa", language, text, bare) == (1, 1)


def test_squad_drops_english_articles_in_every_language_and_no_others():
    assert score("squad", "es", "la casa", "casa")[1] == 0
    assert score("squad", "hu", "a ház", "ház") == (1, 1)
    assert score("squad", "fr", "il a dit", "il dit") == (1, 1)


def test_mlqa_drops_the_articles_of_the_language_alone():
    assert score("mlqa", "es", "la casa", "casa") == (1, 1)
    assert score("mlqa", "es", "the casa", "casa")[1] == 0
    assert score("mlqa", "de", "Das Haus", "haus") == (1, 1)
    assert score("mlqa", "vi", "của tôi", "tôi") == (1, 1)
    assert score("mlqa", "hi", "the किताब", "किताब")[1] == 0
    assert score("mlqa", "zh", "the 书", "书")[1] == 0


def test_mlqa_cuts_the_arabic_article_out_of_words_too():
    assert span.mlqa_tokens("الكتاب", "ar") == ["كتاب"]
    assert span.mlqa_tokens("قال", "ar") == ["ق"]


def test_mlqa_splits_han_alone_and_keeps_latin_and_rare_han_whole():
    assert span.mlqa_tokens("在1990年iPhone X", "zh") == ["在", "1990", "年", "iphone", "x"]
    assert span.mlqa_tokens("㐀㐁 𠀀𠀁 龦龦", "zh") == ["㐀㐁", "𠀀𠀁", "龦龦"]
    assert span.mlqa_tokens("ひらがな", "zh") == ["ひらがな"]


@pytest.mark.parametrize("language", ["th", "EN", "", "zh-TW"])
def test_mlqa_refuses_a_language_it_has_no_rules_for(language):
    with pytest.raises(ValueError, match="MLQA has no rules"):
        span.answer_scores("mlqa", language, ["x"], [["x"]])


def test_a_combining_mark_ends_an_article_and_is_not_composed():
    assert span.squad_tokens("a\u0301", "en") == ["\u0301"]  # the regular expression sees `a` and a mark
    assert span.squad_tokens("á", "en") == ["á"]
    assert score("squad", "es", "cafe\u0301", "café") == (0, 0)


def test_punctuation_goes_before_articles_so_that_joined_words_stay_joined():
    assert span.squad_tokens("the-end a.n.", "en") == ["theend"]


def test_no_answer_equals_no_answer_and_nothing_else():
    def score_v2(prediction: str, *golds: str) -> tuple[float, float]:
        return score("squad", "en", prediction, *golds, unanswerable=True)

    assert score_v2("", "") == (1, 1)
    assert score_v2("the", "") == (1, 1)
    assert score_v2("", "Paris") == (0, 0)
    assert score_v2("Paris", "") == (0, 0)
    assert score_v2("", "the", "Paris") == (0, 0)  # SQuAD v2's script leaves out a gold answer that is only an article
    assert score_v2("Paris", "the", "Paris") == (1, 1)


@pytest.mark.parametrize(("name", "language", "article"), [("squad", "en", "the"), ("mlqa", "es", "una")])
def test_an_answer_of_articles_alone_has_an_f1_of_0_where_every_question_has_an_answer(name, language, article):
    """MLQA's Spanish 60184cb268780854f89dc022bbf2ccf2c8eea2ac is answered by `una`."""
    assert score(name, language, article, article) == (0, 1)
    assert score(name, language, "", article) == (0, 1)
    assert score(name, language, "Paris", article, "Paris") == (1, 1)


def test_repeated_tokens_count_as_often_as_both_have_them():
    assert score("squad", "en", "new new york", "new york")[0] == pytest.approx(0.8)


def test_a_question_without_gold_answers_or_predictions_is_an_error():
    with pytest.raises(ValueError, match="question 1 has no gold answer"):
        span.answer_scores("squad", "en", ["x", "y"], [["x"], []])
    with pytest.raises(ValueError, match="shorter"):
        span.answer_scores("squad", "en", ["x", "y"], [["x"]])


def test_no_questions_give_no_scores():
    f1s, exact = span.answer_scores("squad", "en", [], [])
    assert f1s.shape == exact.shape == (0,)
