"""Multiple choice: how the hub's rows are read, and that a question's choices are never torn apart."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from trainers.data.tokenise import load_tokenizer
from trainers.families import choice
from trainers.network.batch import Batch
from trainers.network.encoder import Vocabulary
from trainers.network.heads import ChoiceHead
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.tasks import TASKS
from trainers.tokens.sets import LabelledSet, Lengths, TokenisedSet

HELLASWAG, COSMOS, COMMONSENSE = TASKS["hellaswag"], TASKS["cosmos_qa"], TASKS["commonsense_qa"]
TOKENIZER = load_tokenizer(SANDBOX_ENCODERS / "sandbox-s")
SWAG_ROW = {
    "ctx_a": "Anna bought a key.",
    "ctx_b": "Then she",
    "endings": ["sang.", "ate.", "ran.", "sat."],
    "label": "2",
}


def table(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


def test_hellaswag_choices_begin_with_ctx_b_and_labels_are_strings():
    question = HELLASWAG.read(SWAG_ROW)
    assert question.prompt == "Anna bought a key."
    assert question.choices[question.label] == "Then she ran."


def test_cosmos_qa_joins_context_and_question():
    row = {"context": "It rained.", "question": "Why?", "label": 3} | {f"answer{n}": f"because {n}" for n in range(4)}
    question = COSMOS.read(row)
    assert (question.prompt, question.choices[question.label]) == ("It rained. Why?", "because 3")


def test_commonsense_qa_labels_are_the_choices_own_letters():
    row = {"question": "Where?", "choices": {"label": list("ABCDE"), "text": list("vwxyz")}, "answerKey": "B"}
    question = COMMONSENSE.read(row)
    assert question.choices[question.label] == "w"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"label": ""}, "row 0 has the label ''"),
        ({"label": "4"}, "row 0 has the label '4', which is none of its 4 choices"),
        ({"label": "two"}, "row 0 has the label 'two'"),
        ({"endings": ["a", "b", "c"]}, "row 0 has 3 choices; expected 4"),
    ],
)
def test_a_wrong_row_is_told(change, complaint):
    (flaw,) = choice.flaws(HELLASWAG, table(SWAG_ROW | change))
    assert complaint in flaw


def test_a_long_prompt_loses_its_beginning_and_keeps_the_choice():
    row = SWAG_ROW | {"ctx_a": "The dog sang in the garden. " * 30 + "Anna bought a key."}
    encoded = choice.encode(HELLASWAG, table(row), TOKENIZER, Lengths(48, 16))
    assert (encoded.sequence_lengths <= 48).all()
    text = TOKENIZER.decode(encoded.sequence(2).tolist())
    assert "bought a key." in text
    assert text.endswith("Then she ran.")


def questions(count: int) -> TokenisedSet:
    rows = [SWAG_ROW | {"ctx_a": "Anna sang. " * (1 + n % 5), "label": str(n % 4)} for n in range(count)]
    return choice.encode(HELLASWAG, table(*rows), TOKENIZER, Lengths(64, 16))


def test_a_unit_is_a_question_with_all_its_choices():
    examples = questions(10)
    assert (len(examples), examples.group) == (10, 4)
    assert examples.tokens.sum() == len(examples.ids)
    assert (examples.lengths == examples.sequence_lengths.reshape(10, 4).max(1) * 4).all()
    taken = examples.take(np.array([7, 2]))
    assert taken.targets[:, 0].tolist() == [3, 2]
    for unit, place in enumerate((7, 2)):
        for one in range(4):
            assert (taken.sequence(4 * unit + one) == examples.sequence(4 * place + one)).all()


def test_logits_are_one_a_choice_whatever_else_is_in_the_batch():
    torch.manual_seed(0)
    examples, head = questions(6), ChoiceHead(8, 4, 0.0).eval()
    vocabulary = Vocabulary(None, TOKENIZER.get_vocab_size())

    def losses(places: list[int]) -> torch.Tensor:
        batch = Batch.collate(examples, np.array(places), vocabulary, torch.device("cpu"))
        hidden = torch.sin((batch.ids * batch.mask).double().sum(1, keepdim=True) * torch.arange(1, 9)).float()[
            :, None, :
        ]
        return head.losses(head(head.select(hidden, batch)), batch)

    together = losses([3, 5, 0])
    assert torch.allclose(together, torch.cat([losses([3]), losses([5]), losses([0])]))


def test_score_is_the_share_of_right_choices():
    rows = table(SWAG_ROW, SWAG_ROW | {"label": "0"})
    found = LabelledSet(HELLASWAG, "en", rows, choice.encode(HELLASWAG, rows, TOKENIZER, Lengths(64, 16)))
    metrics, frame = choice.score(found, np.array([[0, 0, 1, 0], [0, 3, 1, 0.0]]))
    assert metrics == {"accuracy": 0.5}
    assert frame["prediction"].to_list() == ["2", "1"]
    assert choice.chance(found) == 0.5
