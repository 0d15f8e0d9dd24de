"""``metabolic lanes``: what is known of each lane, an operator's pins, anchor questions."""

__all__ = ["lanes"]

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from metabolic.cli import show
from metabolic.cli.lane_lines import Line, lines
from metabolic.config import Config, load
from metabolic.core.errors import ConfigError
from metabolic.core.lanes import LanePin
from metabolic.decide.variants import key_of
from metabolic.execute.lane_state import LaneState
from metabolic.wiring.lane_files import LaneFiles

if TYPE_CHECKING:
    from metabolic.cli.anchors import Asked

_LATEST = 20


def lanes(  # noqa: PLR0913 - the command's options
    *,
    pin: Annotated[tuple[str, str] | None, Parameter(consume_multiple=True)] = None,
    unpin: str | None = None,
    anchor: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    history: Annotated[bool, Parameter(negative="")] = False,
    all: Annotated[bool, Parameter(negative="")] = False,  # noqa: A002 - the option's name
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show the table of lanes; pin a lane to a deployment, ask newcomers anchor questions.

    Args:
        pin: Lane and deployment (`DEPLOYMENT:VARIANT` for a variant); in force within 5 minutes.
        unpin: A lane whose pin is removed; one of the configuration stays.
        anchor: Deployments (or variants, or `all`) to ask a hundred questions with known answers.
        history: Show every split and merge and every version of the table, instead of the table.
        all: Lanes without labels too.
        config: The configuration file.
        json: Print JSON instead of tables.
    """
    read = load(config)
    files = LaneFiles(read)
    if pin is not None or unpin is not None:
        _pin(files, read, pin, unpin)
    if anchor:
        return _anchor(read, anchor, json=json)
    state = files.state()
    if history:
        _history(state, json=json)
        return 0
    pins = {one.lane: one for one in (*(one.pin() for one in read.pins), *files.pins())}
    found = lines(state, read, pins, everything=all, peers=files.peers())
    if json:
        show.print_json(_json(state, read, found, tuple(pins.values())))
    else:
        _print(found, state, tuple(pins.values()), read)
    return 0


def _pin(files: LaneFiles, read: Config, pin: tuple[str, str] | None, unpin: str | None) -> None:
    """Write the pins. Raises ``ConfigError``: nowhere to keep them, or no such deployment."""
    pins = {one.lane: one for one in files.pins()}
    if unpin is not None and pins.pop(unpin, None) is None:
        message = f'"{unpin}" is not pinned here; pinned are: {", ".join(sorted(pins)) or "none"}'
        raise ConfigError(message)
    if pin is not None:
        lane, target = pin
        name, variant = _target(read, target)
        pins[lane] = LanePin(lane=lane, deployment=name, variant=variant)
    if not files.pin(tuple(pins[lane] for lane in sorted(pins))):
        message = "pins could not be kept: the ledger keeps nothing, or its folder is read-only"
        raise ConfigError(message)


def _target(read: Config, target: str) -> tuple[str, str | None]:
    """Return deployment and variant. Raises ``ConfigError``.

    A configuration without deployments runs the default fleet, which is not looked up here.
    """
    names: dict[str, tuple[str, str | None]] = {}
    for one in read.deployments:
        names[one.name] = one.name, None
        names |= {key_of(one.name, each.name): (one.name, each.name) for each in one.variants}
    if target in names:
        return names[target]
    if names:
        message = f'"{target}" is no deployment; known are {", ".join(sorted(names))}'
        raise ConfigError(message)
    name, _, variant = target.partition(":")
    return name, variant or None


def _anchor(read: Config, names: Sequence[str], *, json: bool) -> int:
    """Ask the anchor questions and say how it went; 1 if somebody did not answer at all."""
    from metabolic.cli.anchors import anchor  # noqa: PLC0415 - starts engines

    found = anchor(read, names)
    if json:
        show.print_json(msgspec.to_builtins(found))
    else:
        heads = ("deployment", ">asked", ">good", ">asked before", ">no answer", ">USD", "why")
        show.console().print(show.table("Anchor questions", heads, map(_asked, found)))
    return int(any(one.failed and not one.asked for one in found))


def _asked(one: "Asked") -> tuple[str, ...]:
    """Return one line of the anchors' table."""
    good = f"{one.good} ({one.good / one.asked:.0%})" if one.asked else "–"
    numbers = f"{one.asked}", good, f"{one.known}", f"{one.failed}", f"{one.cost_usd:.4f}"
    return (one.name, *numbers, one.why or "")


def _json(
    state: LaneState, read: Config, found: Sequence[Line], pins: Sequence[LanePin]
) -> dict[str, object]:
    """Return the table for programs."""
    return {
        "epoch": state.epoch,
        "mode": read.lanes.mode,
        "version": state.versions[-1].id if state.versions else None,
        "explored": state.explored,
        "explore_per_epoch": read.lanes.explore_per_epoch,
        "left_out": state.left_out,
        "lanes": msgspec.to_builtins(tuple(found)),
        "pins": msgspec.to_builtins(tuple(pins)),
        "cuts": msgspec.to_builtins(state.cuts),
        "notes": msgspec.to_builtins(state.notes),
    }


def _history(state: LaneState, *, json: bool) -> None:
    """Print what became of lanes, and the versions of the table."""
    if json:
        show.print_json(
            {
                "notes": msgspec.to_builtins(state.notes),
                "versions": msgspec.to_builtins(state.versions),
            }
        )
        return
    console = show.console()
    told = tuple((_moment(one.at_s), f"{one.epoch}", one.text) for one in state.notes)
    console.print(show.table("Splits and merges", ("when", ">epoch", "what"), told))
    kept = tuple(
        (_moment(one.at_s), f"{one.epoch}", one.id, f"{one.labels:,.0f}", f"{one.lanes:,}")
        for one in state.versions
    )
    heads = ("in force from", ">epoch", "version", ">labels", ">lanes")
    console.print(show.table("Versions of the table", heads, kept))


def _filled(
    heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Leave out columns in which nothing is known: a lane's name needs the room."""
    kept = [
        at for at in range(len(heads)) if not rows or any(row[at] not in {"–", "0"} for row in rows)
    ]
    return tuple(heads[at] for at in kept), [tuple(row[at] for at in kept) for row in rows]


def _moment(at_s: float) -> str:
    """Return a time for people, in UTC; before the first epoch there is none."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M") if at_s else "–"


def _print(found: Sequence[Line], state: LaneState, pins: Sequence[LanePin], read: Config) -> None:
    """Print for people."""
    console, table = show.console(), read.lanes
    heads = ("lane", "deployment", ">labels", ">good", ">p_correct", ">answers", ">share")
    heads = (*heads, ">malformed", ">USD", ">J", ">output", "")
    version = f", version {state.versions[-1].id}" if state.versions else ""
    title = f"Lanes (epoch {state.epoch}, mode {table.mode}{version})"
    console.print(show.table(title, *_filled(heads, [one.cells() for one in found])))
    if not found:
        console.print(
            "Nothing is labelled yet: POST /v1/feedback labels answers, and"
            " `metabolic lanes --anchor all` asks a hundred questions with known answers."
        )
    if table.mode == "route":
        console.print(
            f"explored {state.explored:,} answers so far;"
            f" {table.explore_ratio:.1%} of answers on known lanes,"
            f" at most {table.explore_per_epoch} in 5 minutes"
        )
    if pins:
        named = tuple((one.lane, one.deployment, one.variant or "") for one in pins)
        console.print(show.table("Pins", ("lane", "deployment", "variant"), named))
    if state.notes:
        told = tuple((f"{one.epoch}", one.text) for one in state.notes[-_LATEST:])
        console.print(show.table("Splits and merges", (">epoch", "what"), told))
