"""How long knowing a query takes, and what it weighs: classify, route, decide, memory."""

__all__ = ["LENGTHS", "figures", "fleet"]

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from metabolic import plugins
from metabolic.bench.report import Figure, quantile
from metabolic.bench.router_tasks import labelled
from metabolic.core.decision import Belief, Policy
from metabolic.core.fleet import Deployment, FleetSpec, Model, Price, Situation
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask, Message, Request, Text
from metabolic.decide.decide import decide
from metabolic.decide.estimate import prepare
from metabolic.decide.profiles import profile

LENGTHS = (32, 128, 512, 4096)
"""Tokens, at four characters each."""

_CHARS = 4
_BATCH = 5
_MEMORY = """
import json, psutil
before = psutil.Process().memory_info().rss
from metabolic import plugins
from metabolic.core.request import Message, Request, Text
learned = plugins.classifier("learned")
for text in json.loads(input()):
    turn = Message(role="user", content=(Text(text=text),))
    learned.classify(Request(id="r", dialect="chat", model="auto", messages=(turn,)))
print(json.dumps([before, psutil.Process().memory_info().rss]))
"""


def fleet(names: Sequence[str] = ("small", "medium", "large")) -> FleetSpec:
    """Return a fleet of remote models, one a tier, each about five times as dear as the last."""
    sizes = {"tiny": 5e8, "small": 3e9, "medium": 14e9, "large": 70e9}
    return FleetSpec(
        id="bench",
        deployments=tuple(
            Deployment(
                name=name,
                model=Model(id=name, tier=name, active_parameters=int(sizes[name])),  # pyright: ignore[reportArgumentType]
                price=Price(
                    input_usd_per_token=sizes[name] * 1e-17,
                    output_usd_per_token=sizes[name] * 4e-17,
                ),
                capabilities=("chat", "logprobs"),
            )
            for name in sorted(names)
        ),
    )


def figures(*, quick: bool) -> dict[str, Figure]:
    """Return CPU microseconds by prompt length, and the memory of a process that classifies."""
    rounds = 20 if quick else 300
    found: dict[str, Figure] = {}
    for tokens in LENGTHS:
        for name, once in _work(tokens).items():
            found[f"{name}_us_{tokens}"] = _timed(once, rounds)
    found["rss_mb"] = _memory()
    return found


def _work(tokens: int) -> dict[str, Callable[[], object]]:
    """Return what is timed for a prompt of so many tokens.

    ``classify`` is what every request pays, ``route`` what learned heads add, ``decide`` the
    choice among three deployments.
    """
    text = " ".join(prompt for _, _, prompt in labelled())
    text = (text * (2 + tokens * _CHARS // len(text)))[: tokens * _CHARS]
    turn = Message(role="user", content=(Text(text=text),))
    request = Request(id="r", dialect="chat", model="auto", messages=(turn,))
    rules, learned = plugins.classifier("rules"), plugins.classifier("learned")
    signals = learned.classify(request)
    beliefs = tuple(
        Belief(
            deployment=one, lane="*", p_correct=p, p_accept=0.6, p_correct_accepted=k, evidence=99
        )
        for one, p, k in (("small", 0.7, 0.9), ("medium", 0.8, 0.93), ("large", 0.9, 0.95))
    )
    policy = Policy(id="bench", profile=profile("datacenter"), beliefs=beliefs)
    situation = Situation(at_s=0.0, metabolic=MetabolicState(), fleet=fleet())
    ask = Ask(id="r", at_s=0.0, input_tokens=tokens)
    prepared = prepare(situation.fleet, policy)
    return {
        "classify": lambda: rules.classify(request),
        "route": lambda: learned.classify(request),
        "decide": lambda: decide(ask, signals, situation, policy, prepared=prepared),
    }


def _timed(once: Callable[[], object], rounds: int) -> Figure:
    """Return the median and the 99 % quantile of CPU time; a sample is the mean of five calls."""
    for _ in range(_BATCH):
        once()
    samples: list[float] = []
    for _ in range(rounds):
        began_ns = time.thread_time_ns()
        for _ in range(_BATCH):
            once()
        samples.append((time.thread_time_ns() - began_ns) / 1e3 / _BATCH)
    return Figure(
        value=quantile(samples, 0.5) or 0.0,
        unit="us",
        n=rounds * _BATCH,
        low=min(samples),
        high=quantile(samples, 0.99),
        unit_note="CPU time; median, least and 99 % quantile of means of five",
    )


def _memory() -> Figure:
    """Return the memory of a fresh process that has classified with learned heads."""
    texts = json.dumps([prompt for _, _, prompt in labelled()])
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY],
        input=texts + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = json.loads(done.stdout)
    return Figure(
        value=after / 1e6,
        unit="MB",
        n=1,
        low=(after - before) / 1e6,
        high=after / 1e6,
        unit_note="resident memory of a process; low is what classifying added to a bare one",
    )
