"""Anchor questions: a hundred with answers that can be checked, for who is new in the fleet.

A deployment that nobody has labelled is believed to be as good as its size. Asked once, a hundred
questions of our own (``bench/data/questions.jsonl``) say what the size does not. They are labels
like others, by ``anchor``, and count for the lanes that the classifier puts them on.
"""

__all__ = ["MOST", "Asked", "anchor", "anchors"]

import asyncio
from collections.abc import Iterable, Sequence
from time import time

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from metabolic.bench.grading import is_right
from metabolic.bench.questions import SYSTEM, Question, own_questions
from metabolic.config import Config
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Deployment
from metabolic.core.labels import Label
from metabolic.core.request import Ask, Message, Request, Sampling, Text
from metabolic.decide.evidence_labels import label_of
from metabolic.decide.variants import key_of
from metabolic.wiring import Runtime, build
from metabolic.wiring.lane_files import LaneFiles

MOST = 100
_AT_ONCE = 4
_MAX_TOKENS = 1024
"""Room for a model that thinks before it answers shortly."""

_START_S = 300.0
_GIVE_UP = 5
"""Failures in a row after which the rest is not asked."""


class Asked(Struct, frozen=True, kw_only=True):
    """How one deployment (at one variant) did; ``known`` were asked before, ``failed`` not at all.

    ``cost_usd`` is of tokens, ``why`` the last failure.
    """

    name: str
    asked: int
    good: int
    known: int = 0
    failed: int = 0
    cost_usd: float = 0.0
    why: str | None = None


def anchors() -> tuple[Question, ...]:
    """Return the anchor questions: as many of each kind as there are, in turn, at most ``MOST``."""
    kinds: dict[str, list[Question]] = {}
    for one in own_questions():
        kinds.setdefault(one.kind, []).append(one)
    longest = max(map(len, kinds.values()))
    ordered = [each[at] for at in range(longest) for each in kinds.values() if at < len(each)]
    return tuple(ordered[:MOST])


def anchor(config: Config, names: Sequence[str]) -> tuple[Asked, ...]:
    """Ask the anchor questions; ``names`` are deployments or variants, ``all`` is every one.

    A gateway that runs counts the labels at its next epoch. Whoever was asked a question before, as
    the same model, is not asked it again.

    Raises:
        ConfigError: there is no such deployment, or nowhere to keep labels.
    """
    files = LaneFiles(config)
    if files.labels is None:
        message = "anchors could not be kept: the ledger keeps nothing"
        raise ConfigError(message)
    # Nothing but the labels is to be kept: a gateway may be running with the same files.
    ledger = replace(config.ledger, kind="memory", path=None)
    quiet = replace(config, ledger=ledger, lanes=replace(config.lanes, mode="off"), pins=())
    return asyncio.run(_anchor(build(quiet), files, names))


async def _anchor(runtime: Runtime, files: LaneFiles, names: Sequence[str]) -> tuple[Asked, ...]:
    """Start the engines, ask everybody, write the labels down."""
    targets = _targets(runtime.deployments(), names)
    known = frozenset(files.labelled())
    await runtime.start()
    try:
        await _wait(runtime, {one.name for one, _ in targets})
        return tuple([await _one(runtime, files, *each, known=known) for each in targets])
    finally:
        await runtime.aclose(drain_s=0.0)


def _targets(
    fleet: Iterable[Deployment], names: Sequence[str]
) -> list[tuple[Deployment, str | None]]:
    """Return deployments with variants by name. Raises ``ConfigError``."""
    every: dict[str, tuple[Deployment, str | None]] = {}
    for one in fleet:
        every[one.name] = one, None
        every |= {key_of(one.name, each.name): (one, each.name) for each in one.variants}
    if list(names) == ["all"]:
        return [each for each in every.values() if "chat" in each[0].capabilities]
    for name in names:
        if name not in every:
            message = f'"{name}" is no deployment; known are {", ".join(sorted(every))}'
            raise ConfigError(message)
    return [every[name] for name in names]


async def _wait(runtime: Runtime, names: set[str]) -> None:
    """Wait until local engines are up; those that do not come up will fail when they are asked."""
    for _ in range(int(_START_S / 0.5)):
        states = [one.state for one in runtime.loads() if one.deployment in names]
        if not any(state == "starting" for state in states):
            return
        await asyncio.sleep(0.5)


async def _one(
    runtime: Runtime,
    files: LaneFiles,
    deployment: Deployment,
    variant: str | None,
    *,
    known: frozenset[str],
) -> Asked:
    """Ask one deployment, a few questions at once."""
    name = key_of(deployment.name, variant)
    asked = Asked(name=name, asked=0, good=0)
    waiting: list[tuple[str, Question]] = []
    for question in anchors():
        identity = f"anchor:{question.id}:{name}:{deployment.model.id}"
        if identity in known:
            asked = replace(asked, known=asked.known + 1)
        else:
            waiting.append((identity, question))
    for at in range(0, len(waiting), _AT_ONCE):
        batch = waiting[at : at + _AT_ONCE]
        found = await asyncio.gather(*[_ask(runtime, name, *each) for each in batch])
        files.append([one for one, _, _ in found if one is not None])
        asked = _added(asked, found)
        if asked.failed >= _GIVE_UP and not asked.asked:
            break
    return asked


def _added(asked: Asked, found: Iterable[tuple[Label | None, float, str | None]]) -> Asked:
    """Return the sums with some more answers in them."""
    for label, usd, why in found:
        asked = replace(
            asked,
            asked=asked.asked + (label is not None),
            good=asked.good + (label is not None and label.correct == 1.0),
            failed=asked.failed + (label is None),
            cost_usd=asked.cost_usd + usd,
            why=why or asked.why,
        )
    return asked


async def _ask(
    runtime: Runtime, name: str, identity: str, question: Question
) -> tuple[Label | None, float, str | None]:
    """Ask one question; return its label, what it cost in USD, and why there is none."""
    request = _request(identity, question)
    ask = Ask(
        id=identity,
        at_s=time(),
        pin=name,
        input_tokens=sum(len(text) for _, text in _turns(question)) // 4,
        max_output_tokens=_MAX_TOKENS,
    )
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    outcome = await runtime.answer(request, ask, sink=None, gone=gone)
    usd = outcome.record.receipt.cost.tokens_usd
    if outcome.reply is None or not outcome.reply.choices:
        return None, usd, str(outcome.error) if outcome.error is not None else "no answer"
    right = is_right(question, outcome.reply.choices[0].text.strip())
    label = label_of(outcome.record, at_s=time(), by="anchor", correct=float(right))
    return label, usd, None


def _turns(question: Question) -> tuple[tuple[str, str], ...]:
    """Return roles and texts."""
    return ("system", SYSTEM), ("user", question.text)


def _request(identity: str, question: Question) -> Request:
    """Return the request that asks a question, at temperature 0."""
    turns = _turns(question)
    body = {
        "model": "auto",
        "messages": [{"role": role, "content": text} for role, text in turns],
        "temperature": 0,
        "max_tokens": _MAX_TOKENS,
    }
    return Request(
        id=identity,
        dialect="chat",
        model="auto",
        messages=tuple(Message(role=role, content=(Text(text=text),)) for role, text in turns),
        sampling=Sampling(temperature=0.0, max_output_tokens=_MAX_TOKENS),
        body=msgspec.json.encode(body),
    )
