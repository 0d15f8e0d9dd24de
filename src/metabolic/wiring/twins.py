"""Who drafts: what a deployment's table says, and the twins that local models are given."""

__all__ = ["Local", "drafter_of", "launch_of", "with_twins"]

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from metabolic.account.work import parameters_of
from metabolic.config import Config, DeploymentTable
from metabolic.config.speculation import DraftTable
from metabolic.core.engine import EngineTraits
from metabolic.core.errors import ConfigError, StoreError
from metabolic.core.fleet import Deployment, Model
from metabolic.core.speculation import Drafter, Launch

if TYPE_CHECKING:
    from metabolic.engines.store import ModelStore

_NGRAM_TOKENS = 16
"""What a look-up drafts at most; it drafts nothing where nothing matches.

llama.cpp's own 48 gains 7 percent more where everything is copied, and costs a quarter more where
the copy ends early: measured on prompts that no benchmark reports (see the lab log).
"""


class Local(Struct, frozen=True, kw_only=True):
    """A local deployment, the model of the catalogue it runs, and its table if it has one."""

    deployment: Deployment
    model_id: str
    table: DeploymentTable | None = None


def drafter_of(table: DraftTable | None, traits: EngineTraits | None) -> Drafter | None:
    """Return how a deployment drafts; ``traits`` are its engine's, ``None``: a local one."""
    if table is None:
        return None
    return Drafter(
        method=table.method,
        granularity="startup" if traits is None else traits.speculation.granularity,
        twin_of=table.twin_of,
        num_speculative_tokens=_tokens(table, local=traits is None),
        draft_cost_ratio=table.draft_cost_ratio,
        reports=traits is None or traits.name == "llamacpp",
    )


def _tokens(table: DraftTable, *, local: bool) -> int:
    """Return the most that is drafted at once."""
    return _NGRAM_TOKENS if local and table.method == "ngram" else table.num_speculative_tokens


def with_twins(config: Config, locals_: Sequence[Local]) -> list[Local]:
    """Return local deployments with their drafting, each followed by its twins.

    Raises:
        ConfigError: a draft model is not in the catalogue.
    """
    made: list[Local] = []
    for one in locals_:
        table = one.table or DeploymentTable(
            name=one.deployment.name, kind="local", model=one.model_id
        )
        made.append(one if table.speculation is None else _drafting(one, table))
        made += [_drafting(one, twin) for twin in _twins(config, table)]
    return made


def _twins(config: Config, local: DeploymentTable) -> Iterator[DeploymentTable]:
    """Yield the tables of the twins that ``[speculation] local`` gives a local deployment.

    One that drafts already has none, nor has the draft model a twin drafted for by itself. What
    ``[[deployment]]`` already says is somebody's twin is not doubled.
    """
    table, named = config.speculation, config.deployments
    taken = {one.speculation.twin_of for one in named if one.speculation is not None}
    if local.speculation is not None or local.name in taken:
        return
    methods = ("ngram", "draft") if table.local == "both" else (table.local,)
    for method in methods:
        if method == "off" or (method == "draft" and table.draft_model == local.model):
            continue
        drafting = DraftTable(
            method=method,
            twin_of=local.name,
            num_speculative_tokens=table.num_speculative_tokens,
            draft_model=table.draft_model if method == "draft" else None,
        )
        yield replace(local, name=f"{local.name}+{method}", speculation=drafting)


def _drafting(local: Local, table: DeploymentTable) -> Local:
    """Return a local deployment with speculation on, as its table says."""
    drafter = drafter_of(table.speculation, None)
    small = _draft_model(table)
    if drafter is None:
        return local
    extra = 0
    if small is not None:
        extra = small.file_bytes or 0
        cost = parameters_of(small) / parameters_of(local.deployment.model)
        if not drafter.draft_cost_ratio:
            drafter = replace(drafter, draft_cost_ratio=round(min(1.0, cost), 3))
    memory = local.deployment.memory_bytes
    return Local(
        deployment=replace(
            local.deployment,
            name=table.name,
            drafting=replace(drafter, extra_bytes=extra),
            memory_bytes=None if memory is None else memory + extra,
        ),
        model_id=local.model_id,
        table=table,
    )


def _draft_model(table: DeploymentTable) -> Model | None:
    """Return the model that drafts, ``None`` without one."""
    drafting = table.speculation
    if drafting is None or drafting.method != "draft" or drafting.draft_model is None:
        return None
    from metabolic.engines.catalogue import model_of  # noqa: PLC0415 - only where there is one

    try:
        return model_of(drafting.draft_model)
    except StoreError as exc:
        message = f"{table.name} speculation draft_model: {exc}"
        raise ConfigError(message) from exc


def launch_of(local: Local, store: "ModelStore") -> Launch | None:
    """Return what a local engine is started with to draft; ``None``: it does not."""
    drafting = None if local.table is None else local.table.speculation
    if drafting is None:
        return None
    if drafting.method == "ngram":
        return Launch(method="ngram", num_speculative_tokens=_NGRAM_TOKENS)
    path = None if drafting.draft_model is None else store.path(drafting.draft_model)
    return Launch(
        method="draft",
        num_speculative_tokens=drafting.num_speculative_tokens,
        draft_path=None if path is None else str(path),
    )
