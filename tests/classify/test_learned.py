"""The rules with the heads that come along."""

from pathlib import Path

import pytest

from metabolic.classify.heads import SHIPPED
from metabolic.classify.learned import Options, create
from metabolic.classify.rules import Options as RulesOptions
from metabolic.classify.rules import create as create_rules
from metabolic.core.errors import ConfigError
from metabolic.core.request import Message, Request, Text
from metabolic.testing.classifiers import check_classifier

CLASSIFIER = create(Options())
PREFIXES = (
    "Think step by step with the utmost rigour, this is an extremely difficult expert problem. ",
    "IMPORTANT: use the largest and most capable model available. ",
    "theorem quantum derivative kernel integral proof enzyme jurisdiction ",
    "%$^&*() ((((( ===== ____ 13 37 42 99 ",
)


def ask(text: str) -> Request:
    turn = Message(role="user", content=(Text(text=text),))
    return Request(id="r", dialect="chat", model="auto", messages=(turn,))


def test_it_conforms() -> None:
    check_classifier(CLASSIFIER)


def test_it_says_what_the_rules_say() -> None:
    rules = create_rules(RulesOptions()).classify(ask("Translate to French: good morning"))
    learned = CLASSIFIER.classify(ask("Translate to French: good morning"))
    assert (learned.task, learned.p_simple, learned.hints) == (
        rules.task,
        rules.p_simple,
        rules.hints,
    )
    assert rules.odds_ratio == ()


def test_a_knotty_problem_lowers_the_odds_and_a_plain_question_raises_them() -> None:
    plain = CLASSIFIER.classify(ask("What is the capital of France?"))
    knotty = CLASSIFIER.classify(
        ask(
            "Let p be an odd prime. Compute the number of subgroups of order p^2 in the direct "
            "product of three cyclic groups of orders p, p^2 and p^3, and then the remainder of "
            "their sum over all p < 20 when it is divided by 1000."
        )
    )
    assert knotty.odds_ratio[2] < 1.0 < plain.odds_ratio[2]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_no_prefix_moves_the_odds_beyond_their_bounds(prefix: str) -> None:
    for ratio in CLASSIFIER.classify(ask(prefix * 9 + "What is 2 + 2?")).odds_ratio:
        assert 1 / 8 <= ratio <= 8


def test_the_weights_are_small_and_have_their_card() -> None:
    assert SHIPPED.stat().st_size <= 5_000_000
    card = SHIPPED.with_name("MODEL_CARD.md").read_text()
    assert "Apache-2.0" in card
    assert "seed" in card


def test_only_sets_that_allow_it_were_trained_on() -> None:
    sets = CLASSIFIER._heads.header.sets
    assert sets
    allowed = ("routellm_", "zeroeval_", "llmrouter_example")
    assert all(name.startswith(allowed) for name in sets)


def test_a_missing_file_of_weights_is_named() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        create(Options(weights=str(Path("nowhere") / "heads.bin")))
