"""An explanation shows what was seen, who could answer, what was compared, and the choice."""

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from metabolic.cli.explain import explain, print_explanation
from metabolic.core.decision import Belief, Policy
from metabolic.core.fleet import Price
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide
from metabolic.testing.fleets import deployment, edge, situation_of
from metabolic.wiring.offline import Explanation

FLEET = (
    deployment("small", parameters=500_000_000, decode_tokens_per_s=24),
    deployment("large", parameters=1_500_000_000, decode_tokens_per_s=12),
    deployment("api", price=Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6)),
    deployment("deaf", capabilities=("embeddings",)),
)
BELIEFS = (
    Belief(deployment="small", lane="*", p_correct=0.73, p_accept=0.65, p_correct_accepted=0.9),
    Belief(deployment="large", lane="*", p_correct=0.9),
)


def explained(**ask: object) -> Explanation:
    policy = Policy(id="p", profile=edge(), beliefs=BELIEFS, reference="large")
    asked = Ask(id="r", at_s=0.0, input_tokens=12, needs=("chat",), **ask)  # type: ignore[arg-type]
    signals = Signals(task="closed_qa", lane="closed_qa", classifier="rules-1")
    situation = situation_of(*FLEET)
    decision = decide(asked, signals, situation, policy)
    return Explanation(ask=asked, signals=signals, situation=situation, decision=decision)


def shown(explanation: Explanation) -> str:
    console = Console(file=io.StringIO(), width=140)
    print_explanation(explanation, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_deployment_is_shown_with_its_estimate_or_its_rejection() -> None:
    explanation = explained()
    text = shown(explanation)
    for candidate in explanation.decision.candidates:
        assert candidate.deployment in text
        assert candidate.rejected is None or candidate.rejected in text
    assert any(candidate.rejected for candidate in explanation.decision.candidates)


def test_the_plans_the_choice_and_its_reasons_are_shown() -> None:
    explanation = explained()
    text = shown(explanation)
    assert "closed_qa, 12 tokens in" in text
    assert "Plans" in text
    assert f"choice   {explanation.decision.stages[0].deployment}" in text
    for reason in explanation.decision.reasons:
        assert f"because  {reason}" in text


def test_a_pinned_request_says_that_it_is() -> None:
    assert "pinned by the client" in shown(explained(pin="large"))


def test_a_request_nobody_may_answer_says_so() -> None:
    text = shown(explained(allowed=("nobody",)))
    assert "nobody may answer" in text


CONFIG = """
[models]
fleet = "none"
[[deployment]]
name = "small"
base_url = "http://127.0.0.1:9/v1"
input_usd_per_million_tokens = 1
output_usd_per_million_tokens = 2
[[deployment]]
name = "large"
base_url = "http://127.0.0.1:9/v1"
input_usd_per_million_tokens = 5
output_usd_per_million_tokens = 10
[[belief]]
deployment = "large"
p_correct = 0.9
"""


@pytest.mark.parametrize("prompt", ["Is 17 prime?", "-"])
def test_the_command_decides_as_the_gateway_would_and_asks_nobody(
    prompt: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "m.toml"
    path.write_text(CONFIG)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Is 17 prime?"))
    explain(prompt, config=path, preference=0.25, json=True)
    made = json.loads(capsys.readouterr().out)
    assert made["ask"]["preference"] == 0.25
    assert made["ask"]["input_tokens"] == 3
    assert {one["deployment"] for one in made["decision"]["candidates"]} == {"small", "large"}
    assert made["decision"]["stages"]


def test_tables_are_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.toml"
    path.write_text(CONFIG)
    explain("Is 17 prime?", config=path, profile="datacenter")
    shown_ = capsys.readouterr().out
    assert "profile datacenter" in shown_
    assert "choice" in shown_
