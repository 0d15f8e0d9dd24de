"""``metabolic lanes``: what is known of each lane, and an operator's pins."""

__all__ = ["lanes"]

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from msgspec import Struct

from metabolic.cli import show
from metabolic.config import Config, load
from metabolic.core.errors import ConfigError
from metabolic.core.lanes import LanePin, LaneTable, Tally
from metabolic.decide.clusters import is_lane
from metabolic.decide.evidence_table import indexed
from metabolic.execute.lane_state import LaneState
from metabolic.wiring.lane_files import LaneFiles


class _Line(Struct, frozen=True, kw_only=True):
    """One deployment on one lane; ``p_correct`` is shrunk to the lane's parents."""

    lane: str
    deployment: str
    variant: str | None
    labels: float
    correct: float
    p_correct: float | None
    answers: int
    failed: int
    usd_per_answer: float | None
    energy_j_per_answer: float | None
    known: bool
    pinned: bool


def lanes(
    *,
    pin: Annotated[tuple[str, str] | None, Parameter(consume_multiple=True)] = None,
    unpin: str | None = None,
    all: Annotated[bool, Parameter(negative="")] = False,  # noqa: A002 - the option's name
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show the table of lanes, its splits and merges; pin a lane to a deployment.

    Args:
        pin: Lane and deployment (`DEPLOYMENT:VARIANT` for a variant); in force within 5 minutes.
        unpin: A lane whose pin is removed; one of the configuration stays.
        all: Lanes without labels too.
        config: The configuration file.
        json: Print JSON instead of tables.
    """
    read = load(config)
    files = LaneFiles(read)
    if pin is not None or unpin is not None:
        _pin(files, pin, unpin)
    state = files.state()
    pins = {one.lane: one for one in (*(one.pin() for one in read.pins), *files.pins())}
    found = _lines(state, read, pins, everything=all)
    if json:
        show.print_json(
            {
                "epoch": state.epoch,
                "mode": read.lanes.mode,
                "left_out": state.left_out,
                "lanes": msgspec.to_builtins(found),
                "pins": msgspec.to_builtins(tuple(pins.values())),
                "cuts": msgspec.to_builtins(state.cuts),
                "notes": msgspec.to_builtins(state.notes),
            }
        )
    else:
        _print(found, state, tuple(pins.values()), read)
    return 0


def _pin(files: LaneFiles, pin: tuple[str, str] | None, unpin: str | None) -> None:
    """Write the pins. Raises ``ConfigError`` when there is nowhere to keep them."""
    pins = {one.lane: one for one in files.pins()}
    if unpin is not None:
        pins.pop(unpin, None)
    if pin is not None:
        lane, deployment = pin
        name, _, variant = deployment.partition(":")
        pins[lane] = LanePin(lane=lane, deployment=name, variant=variant or None)
    if not files.pin(tuple(pins[lane] for lane in sorted(pins))):
        message = "pins could not be kept: the ledger keeps nothing, or its folder is read-only"
        raise ConfigError(message)


def _lines(
    state: LaneState, read: Config, pins: dict[str, LanePin], *, everything: bool
) -> tuple[_Line, ...]:
    """Return the lines of the table: lanes that are ones, not the sides of cuts never made."""
    cuts = {one.lane: one.question for one in state.cuts}
    table = LaneTable(tallies=state.tallies, min_labels=read.lanes.min_labels)
    beliefs = tuple(one.belief() for one in read.beliefs)
    index = indexed(table, beliefs)
    every = indexed(msgspec.structs.replace(table, min_labels=0), beliefs)
    return tuple(
        _line(
            one,
            p={each.deployment: each.p_correct for each in every.lanes[one.lane].p_correct}.get(
                one.deployment
            ),
            known=one.lane in index.lanes,
            pin=pins.get(one.lane),
        )
        for one in state.tallies
        if (everything or one.labels > 0) and is_lane(one.lane, cuts)
    )


def _line(one: Tally, *, p: float | None, known: bool, pin: LanePin | None) -> _Line:
    """Return one line."""
    return _Line(
        lane=one.lane,
        deployment=one.deployment,
        variant=one.variant,
        labels=one.labels,
        correct=one.correct,
        p_correct=p,
        answers=one.answers,
        failed=one.failed,
        usd_per_answer=one.usd / one.priced if one.priced else None,
        energy_j_per_answer=one.energy_j / one.metered if one.metered else None,
        known=known,
        pinned=pin is not None and pin.deployment == one.deployment,
    )


def _print(found: Sequence[_Line], state: LaneState, pins: Sequence[LanePin], read: Config) -> None:
    """Print for people."""
    console = show.console()
    heads = (
        "lane",
        "deployment",
        ">labels",
        ">correct",
        ">p_correct",
        ">answers",
        ">malformed",
        ">USD",
        ">J",
        "",
    )
    rows = tuple(
        (
            one.lane,
            one.deployment if one.variant is None else f"{one.deployment}:{one.variant}",
            f"{one.labels:,.0f}",
            f"{one.correct:,.1f}",
            "–" if one.p_correct is None else f"{one.p_correct:.2f}",
            f"{one.answers:,}",
            f"{one.failed:,}",
            "–" if one.usd_per_answer is None else f"{one.usd_per_answer:.6f}",
            "–" if one.energy_j_per_answer is None else f"{one.energy_j_per_answer:,.1f}",
            "pinned" if one.pinned else "" if one.known else "too few labels",
        )
        for one in found
    )
    console.print(show.table(f"Lanes (epoch {state.epoch}, mode {read.lanes.mode})", heads, rows))
    if pins:
        named = tuple((one.lane, one.deployment, one.variant or "") for one in pins)
        console.print(show.table("Pins", ("lane", "deployment", "variant"), named))
    if state.notes:
        told = tuple((f"{one.epoch}", one.text) for one in state.notes[-20:])
        console.print(show.table("Splits and merges", (">epoch", "what"), told))
