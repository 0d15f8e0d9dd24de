"""Who can answer: the deployments of the configuration, or the default fleet without any.

What only local models need (catalogue, store, sizes) is imported when there are any: a gateway in
front of APIs starts without.
"""

__all__ = ["UPSTREAM", "Assembled", "Local", "assemble", "has_local", "store_of", "upstreams"]

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from metabolic import plugins
from metabolic.account.families import tier_of
from metabolic.config import Config, DeploymentTable
from metabolic.config.shadow import ShadowTable
from metabolic.core.errors import ConfigError, StoreError
from metabolic.core.fleet import Deployment, Endpoint, FleetSpec, Model, Tier
from metabolic.decide.digest import sealed
from metabolic.wiring.defaults import LOCAL_CAPABILITIES, PROVEN_TASKS, load_s_of, speed_of
from metabolic.wiring.twins import Local, drafter_of, with_twins

if TYPE_CHECKING:
    from metabolic.engines.store import ModelStore

UPSTREAM = "upstream"
"""The deployment that a shadow's base URL becomes."""

_TIERS: tuple[tuple[float, Tier], ...] = ((1e9, "tiny"), (7e9, "small"), (2e10, "medium"))


class Assembled(Struct, frozen=True, kw_only=True):
    """The fleet, where its remote part listens, and the local part that has yet to start.

    ``why`` says in one line where the default models come from; empty without default models.
    """

    fleet: FleetSpec
    endpoints: dict[str, Endpoint]
    locals: tuple[Local, ...]
    why: str = ""
    store: "ModelStore | None" = None


def has_local(config: Config) -> bool:
    """Say whether a configuration runs models on this machine, and so needs their store."""
    if config.deployments:
        return any(table.kind == "local" for table in config.deployments)
    return config.models.fleet != "none"


def store_of(config: Config) -> "ModelStore":
    """Return the model store the configuration names."""
    from metabolic.engines.progress import progress_on  # noqa: PLC0415 - only for local models
    from metabolic.engines.store import ModelStore  # noqa: PLC0415 - as above

    directory = config.models.dir
    return ModelStore(
        None if directory is None else Path(directory).expanduser(),
        mirrors=config.models.mirrors,
        progress=progress_on(sys.stderr),
    )


def assemble(
    config: Config,
    *,
    store: "ModelStore | None" = None,
    say: Callable[[str], None] | None = None,
) -> Assembled:
    """Return the fleet of a configuration; asks the hub when the fleet is to be chosen.

    ``store`` is what chooses the default models; without one it is made when they are wanted.

    Raises:
        ConfigError: a table names a model that is not in the catalogue.
        StoreError: no source of default models may be used.
    """
    locals_: list[Local] = []
    why = ""
    if not config.deployments and config.models.fleet != "none":
        choice = (store or store_of(config)).choose(config.models.fleet)
        why = choice.why
        if say is not None:
            say(why)
        locals_ = [_default(config, model_id) for model_id in choice.ids]
    remotes: list[Deployment] = []
    endpoints: dict[str, Endpoint] = {}
    for number, table in enumerate((*config.deployments, *upstreams(config.shadow))):
        endpoint = table.endpoint()
        if table.kind == "local":
            locals_.append(_local(config, table, number))
        elif endpoint is not None:
            remotes.append(_remote(table, number))
            endpoints[table.name] = endpoint
    locals_ = with_twins(config, locals_)
    deployments = sorted((*(one.deployment for one in locals_), *remotes), key=lambda one: one.name)
    fleet = sealed(FleetSpec(id="", deployments=tuple(deployments)))
    return Assembled(fleet=fleet, endpoints=endpoints, locals=tuple(locals_), why=why, store=store)


def upstreams(shadow: ShadowTable) -> tuple[DeploymentTable, ...]:
    """Return the deployment that a shadow's base URL stands for; nothing without one."""
    if shadow.url is None:
        return ()
    return (
        DeploymentTable(
            name=UPSTREAM,
            base_url=shadow.url,
            upstream_model=shadow.model,
            api_key=shadow.api_key,
            tier="large",
        ),
    )


def _default(config: Config, model_id: str) -> Local:
    """Return a model of the default fleet, named like itself."""
    from metabolic.engines.catalogue import model_of  # noqa: PLC0415 - only for local models

    return Local(
        deployment=_on_cpu(
            config, model_id, model_of(model_id), tasks=PROVEN_TASKS.get(model_id, ())
        ),
        model_id=model_id,
    )


def _local(config: Config, table: DeploymentTable, number: int) -> Local:
    """Return a local deployment of the configuration."""
    from metabolic.engines.catalogue import model_of  # noqa: PLC0415 - only for local models

    where = f'[[deployment]] number {number + 1} ("{table.name}") model'
    if table.model is None:
        message = f"{where}: a local deployment needs an id of the catalogue"
        raise ConfigError(message)
    try:
        model = model_of(table.model)
    except StoreError as exc:
        message = f"{where}: {exc}"
        raise ConfigError(message) from exc
    made = _on_cpu(config, table.name, model, tasks=table.tasks, table=table)
    return Local(deployment=made, model_id=table.model, table=table)


def _on_cpu(
    config: Config,
    name: str,
    model: Model,
    *,
    tasks: tuple[str, ...],
    table: DeploymentTable | None = None,
) -> Deployment:
    """Return a deployment on this machine's CPU."""
    from metabolic.engines.sizing import least_bytes  # noqa: PLC0415 - only for local models

    speed = speed_of(model)
    given = table or DeploymentTable(name=name)
    return Deployment(
        name=name,
        model=model,
        kind="local",
        device=given.device or "cpu",
        capabilities=given.capabilities or LOCAL_CAPABILITIES,
        prefill_tokens_per_s=given.prefill_tokens_per_s or speed.prefill_tokens_per_s,
        decode_tokens_per_s=given.decode_tokens_per_s or speed.decode_tokens_per_s,
        speed_origin="measured" if given.decode_tokens_per_s else speed.origin,
        active_w=given.active_w or config.energy.cpu_w_per_core,
        active_w_origin="measured" if given.active_w else "modelled",
        load_s=load_s_of(model),
        memory_bytes=least_bytes(model),
        tasks=tasks,
        variants=tuple(one.variant() for one in given.variants),
        slots=given.slots or config.engines.slots or 2,
        usd_per_hour=given.usd_per_hour,
    )


def _remote(table: DeploymentTable, number: int) -> Deployment:
    """Return a deployment behind a base URL. Raises ``ConfigError``: no such engine."""
    try:
        traits = plugins.traits(table.engine)
    except ConfigError as exc:
        message = f'[[deployment]] number {number + 1} ("{table.name}") engine: {exc}'
        raise ConfigError(message) from exc
    return Deployment(
        name=table.name,
        model=Model(
            id=table.upstream_model or table.name,
            tier=table.tier or _tier_of(table),
            total_parameters=table.total_parameters,
            active_parameters=table.active_parameters,
            context_tokens=table.context_tokens,
        ),
        kind=table.kind,
        device=table.device,
        capabilities=table.capabilities or traits.capabilities,
        price=table.price(),
        prefill_tokens_per_s=table.prefill_tokens_per_s,
        decode_tokens_per_s=table.decode_tokens_per_s,
        speed_origin="measured" if table.decode_tokens_per_s else None,
        active_w=table.active_w,
        active_w_origin="measured" if table.active_w else None,
        tasks=table.tasks,
        variants=tuple(one.variant() for one in table.variants),
        slots=table.slots or 64,
        usd_per_hour=table.usd_per_hour,
        drafting=drafter_of(table.speculation, traits),
    )


def _tier_of(table: DeploymentTable) -> Tier:
    """Return the tier by the parameters, else by what the model's name says, else *medium*."""
    parameters = table.active_parameters or table.total_parameters
    known = None if parameters is not None else tier_of(table.upstream_model or table.name)
    return known or _tier(parameters)


def _tier(parameters: int | None) -> Tier:
    """Return the tier of that many active parameters; ``medium`` when nobody says."""
    if parameters is None:
        return "medium"
    for bound, tier in _TIERS:
        if parameters < bound:
            return tier
    return "large"
