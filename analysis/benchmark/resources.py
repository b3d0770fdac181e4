"""How much text of each language the encoders were pretrained on."""

CC100_GIB = {
    "af": 1.3, "ar": 28.0, "bg": 57.5, "bn": 8.4, "de": 66.6, "el": 46.9, "en": 300.8, "es": 53.3, "et": 6.1,
    "eu": 2.0, "fa": 111.6, "fi": 54.3, "fr": 56.8, "he": 31.6, "hi": 20.2, "hu": 58.4, "id": 148.3, "it": 30.2,
    "ja": 69.3, "jv": 0.2, "ka": 9.1, "kk": 6.4, "ko": 54.2, "ml": 7.6, "mr": 2.8, "nl": 29.3, "pt": 49.1,
    "ru": 278.0, "sw": 1.6, "ta": 12.2, "te": 4.7, "th": 71.7, "tl": 3.1, "tr": 20.9, "ur": 5.7, "vi": 137.3,
    "zh": 63.5,
}  # fmt: skip
"""GiB of CC-100, XLM-R's text (Conneau et al. 2020, table 6); Chinese is the sum of both scripts.  Yoruba has none."""


def by_resource(languages: set[str]) -> list[str]:
    """From much text to little; those of which there is none last, by name."""
    return sorted(languages, key=lambda language: (-CC100_GIB.get(language, 0.0), language))
