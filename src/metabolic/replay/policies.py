"""Policies by name, decided with the inputs of stored records."""

__all__ = ["evaluate", "labels_in", "policy_named"]

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from metabolic.config import load
from metabolic.core.decision import Decision, Policy
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Situation
from metabolic.core.ports import Ledger
from metabolic.core.receipt import Record
from metabolic.core.request import Ask
from metabolic.decide.decide import decide
from metabolic.decide.digest import sealed
from metabolic.decide.estimate import Prepared, prepare
from metabolic.replay.verify import Inputs
from metabolic.replay.what_if import WhatIf, acts, judged
from metabolic.wiring.policy import policy_of

Change = tuple[Callable[[Policy], Policy], Callable[[Ask], Ask]]
"""What another policy makes of a record's policy, and of its ask."""


def policy_named(name: str) -> Change:
    """Return what a policy's name changes.

    ``best``, ``cheapest``, ``net_cost``, ``always:DEPLOYMENT``, ``preference:0.8``, ``no-lanes``,
    or a configuration file whose ``[routing]``, ``[profile] preference``, prices and beliefs hold.

    Raises:
        ConfigError: it is none of these.
    """
    kind, _, value = name.partition(":")
    if kind in {"best", "cheapest", "net_cost"} and not value:
        return (lambda one: replace(one, kind=kind, lanes=None)), (lambda ask: ask)
    if kind == "always" and value:
        return (lambda one: one), (lambda ask: replace(ask, pin=value))
    if kind == "no-lanes" and not value:
        return (lambda one: replace(one, lanes=None)), (lambda ask: ask)
    if kind == "preference" and value:
        dial = _dial(value)
        return (lambda one: one), (lambda ask: replace(ask, preference=dial))
    if name.endswith(".toml"):
        config = load(Path(name))
        return (
            lambda one: replace(policy_of(config, one.profile), lanes=one.lanes),
            lambda ask: ask,
        )
    message = (
        f'what-if: "{name}" is no policy; known: best, cheapest, net_cost, no-lanes,'
        " always:DEPLOYMENT, preference:0.8, FILE.toml"
    )
    raise ConfigError(message)


def _dial(text: str) -> float:
    """Return a preference. Raises ``ConfigError``."""
    try:
        dial = float(text)
    except ValueError:
        dial = -1.0
    if not 0 <= dial <= 1:
        message = f'what-if: preference "{text}" must be from 0 to 1'
        raise ConfigError(message)
    return dial


def labels_in(path: Path | None) -> dict[str, float]:
    """Return labels in [0, 1] by request id, from a file of labels.

    Preferences are left out, and labels of answers that the client never got.

    Raises:
        ConfigError: the file cannot be read.
    """
    if path is None or not path.exists():
        return {}
    found: dict[str, float] = {}
    try:
        for line in path.read_bytes().splitlines():
            row: Mapping[str, Any] = msgspec.json.decode(line)
            value = row.get("correct", row.get("score"))
            if value is not None and row.get("id") and not row.get("shadow"):
                found[str(row["id"])] = float(value)
    except (OSError, msgspec.MsgspecError, ValueError) as exc:
        message = f"{path}: cannot be read: {exc}"
        raise ConfigError(message) from exc
    return found


def evaluate(
    ledger: Ledger,
    name: str,
    labels: Mapping[str, float],
    *,
    since_s: float | None = None,
    until_s: float | None = None,
) -> WhatIf:
    """Return what a policy would have done with the ledger's requests.

    Raises:
        ConfigError: there is no such policy.
        LedgerError: the ledger cannot be read.
    """
    change, inputs = policy_named(name), Inputs(ledger)
    made: dict[tuple[str, str], Prepared] = {}
    pairs: list[tuple[Record, Decision]] = []
    unusable = explored = 0
    for record in ledger.records(since_s, until_s):
        other = _other(record, inputs, change, made)
        if other is None or not other.stages or not record.decision.stages:
            unusable += 1
            continue
        explored += bool(record.decision.arms)
        pairs.append((record, other))
    return judged(name, acts(pairs, labels), unusable=unusable, explored=explored)


def _other(
    record: Record, inputs: Inputs, change: Change, made: dict[tuple[str, str], Prepared]
) -> Decision | None:
    """Return what the policy decides for a record; ``None``: its inputs are gone."""
    known, state = inputs.known(record), inputs.state(record)
    if known is None or state is None:
        return None
    key = known.fleet.id, known.policy.id
    prepared = made.get(key)
    if prepared is None:
        policy = change[0](known.policy)
        if policy.lanes is not None:
            policy = replace(policy, lanes=replace(policy.lanes, explore_ratio=0.0))
        prepared = made[key] = prepare(known.fleet, sealed(policy))
    ref = record.situation
    situation = Situation(at_s=ref.at_s, metabolic=state, fleet=known.fleet, load=ref.load)
    return decide(
        change[1](record.ask), record.signals, situation, prepared.policy, prepared=prepared
    )
