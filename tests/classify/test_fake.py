"""The fake classifier says what it is told."""

from metabolic.classify.fake import Options, create
from metabolic.core.request import Request
from metabolic.core.signals import PCorrect
from metabolic.testing.classifiers import check_classifier


def test_it_gives_the_signals_of_its_options() -> None:
    fake = create(Options(task="rewrite", p_simple=0.5, p_complex=0.1, p_correct=(("d", 0.7),)))
    signals = fake.classify(Request(id="r", dialect="chat", model="auto"))
    assert (signals.task, signals.lane) == ("rewrite", "rewrite")
    assert signals.p_medium == 0.4
    assert signals.p_correct == (PCorrect(deployment="d", p_correct=0.7),)


def test_it_conforms() -> None:
    check_classifier(create(Options()))
