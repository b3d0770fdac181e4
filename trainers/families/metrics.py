"""What several families score by: accuracy, precision, recall and F1."""

from __future__ import annotations

import numpy as np
import polars as pl


def accuracy(predicted: np.ndarray, gold: np.ndarray, names: np.ndarray) -> tuple[dict[str, float], pl.DataFrame]:
    """Accuracy over all rows.

    Args:
        predicted, gold: [n] class numbers.
        names: [classes] what the classes are called.

    Returns:
        {"accuracy": value in [0, 1]}, and one row per example: example, prediction and gold (names), score (0 or 1).
    """
    frame = pl.DataFrame(
        {
            "example": np.arange(len(gold)),
            "prediction": names[predicted],
            "gold": names[gold],
            "score": (predicted == gold).astype(np.float64),
        }
    )
    return {"accuracy": float(frame["score"].to_numpy().mean())}, frame


def precision_recall_f1(right: int, predicted: int, gold: int) -> tuple[float, float, float]:
    """Precision, recall and F1 in [0, 1], from how many are right, predicted and gold; 0 where one would divide by 0.

    In the official scripts' order of operations, for the same last digit.
    """
    precision = right / predicted if predicted else 0.0
    recall = right / gold if gold else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0
