"""Every error code that Meta documents for Messenger and Instagram has its consequence, and a sentence for a person."""

from __future__ import annotations

import pytest

from channels import facebook, instagram
from channels.verdicts import Refusal, Verdicts

CODES = {
    "retry": "1 2 4 17 32 613 613/2534040 80002 80006 100/2018294 100/2018008 1/1357046",
    "window": "10/2018278 10/2534022 10/2018065",
    "permanent": "100 100/0 100/2018001 100/2534014 100/2018109 100/2018047 100/2534015 551 551/1545041 200/1545041 "
    "1545041 10/2018108 10/2018300 100/2018300 2018300 100/2534037 2018218 2018247",
    "account": "10 190 190/460 190/463 10/2534077 10/1893063 100/2534013 100/2534029 100/33 33 200 200/2534041 "
    "200/2018 368 2022 2635 100/appsecret_proof",
}


@pytest.mark.parametrize("verdicts", [facebook.VERDICTS, instagram.VERDICTS], ids=lambda one: one.provider)
@pytest.mark.parametrize(
    ("action", "code"), [(action, code) for action, codes in CODES.items() for code in codes.split()]
)
def test_each_code_has_its_consequence_and_a_sentence(verdicts: Verdicts, action: str, code: str) -> None:
    number, _, subcode = code.partition("/")
    verdict = verdicts.judge(Refusal(code=number, subcode=subcode, message="(#1) Meta's words", status=500))
    assert verdict.action == action
    assert verdict.sentence.endswith(".")
    assert "{" not in verdict.sentence
    assert verdict.unknown == (code == "1/1357046")


def test_the_sentences_name_the_channel() -> None:
    refusal = Refusal(code="10", subcode="2018278")
    assert "Messenger" in facebook.VERDICTS.judge(refusal).sentence
    assert "Instagram" in instagram.VERDICTS.judge(refusal).sentence
