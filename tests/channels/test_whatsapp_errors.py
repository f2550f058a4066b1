"""Every error code that WhatsApp documents has its consequence, and a sentence for a person."""

from __future__ import annotations

import pytest

from channels.verdicts import Refusal
from channels.whatsapp.errors import VERDICTS

CODES = {
    "retry": "1 2 4 80007 130429 131000 131016 131056 131057",
    "window": "131047",
    "permanent": "100 130403 130472 131008 131009 131021 131026 131049 131050 131051 131053 131062 131063 132000 "
    "132001 132005 132007 132008 132012 132015 132016 132018 132068 132069 135000",
    "account": "0 3 10 33 190 200 210 299 368 130497 131005 131031 131037 131042 131045 131048 131064 133010",
}


@pytest.mark.parametrize(
    ("action", "code"), [(action, code) for action, codes in CODES.items() for code in codes.split()]
)
def test_each_code_has_its_consequence_and_a_sentence(action: str, code: str) -> None:
    verdict = VERDICTS.judge(Refusal(code=code, message="(#1) Provider words", status=500))
    assert verdict.action == action
    assert verdict.sentence.endswith(".")
    assert "{" not in verdict.sentence


def test_where_our_sentence_leaves_room_the_providers_words_stand() -> None:
    with_words = VERDICTS.judge(Refusal(code="132000", message="expected 2, got 1"))
    assert with_words.sentence == "The number of values does not fit the template: expected 2, got 1."
    assert VERDICTS.judge(Refusal(code="132000")).sentence == "The number of values does not fit the template."
