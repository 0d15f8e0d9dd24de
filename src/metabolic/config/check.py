"""Rules that no single table can check."""

__all__ = ["check", "is_loopback"]

import ipaddress
from collections.abc import Iterable

from metabolic.account.zones import intensity_of, zones
from metabolic.config.drafting import drafting
from metabolic.config.tables import Config, DeploymentTable
from metabolic.config.variant_check import differences, targets
from metabolic.core.errors import ConfigError

_RESERVED = ("auto", "auto:fast", "auto:best")
"""Virtual models that always exist; a ``[[virtual]]`` of the same name replaces one."""


def check(config: Config) -> None:
    """Refuse a configuration whose tables do not go together.

    Raises:
        ConfigError: naming source, table and key.
    """
    for where, problem in _problems(config):
        message = f"{config.source}: {where}: {problem}"
        raise ConfigError(message)


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _problems(config: Config) -> Iterable[tuple[str, str]]:
    """Yield (where, what is wrong), worst first."""
    if not is_loopback(config.server.host) and not config.keys:
        problem = "is reachable from other machines: add a [[key]], or listen on 127.0.0.1"
        yield "[server] host", f"{config.server.host} {problem}"
    admin = config.admin
    if not is_loopback(admin.host) and not config.keys:
        problem = "is reachable from other machines: add a [[key]], or listen on 127.0.0.1"
        yield "[admin] host", f"{admin.host} {problem}"
    if admin.port and (admin.host, admin.port) == (config.server.host, config.server.port):
        yield "[admin] port", "is the gateway's own: leave it out to share the listener"
    zone = config.energy.zone
    if zone is not None and intensity_of(zone) is None:
        yield "[energy] zone", f'"{zone}" is not known: set g_per_kwh; known: {", ".join(zones())}'
    yield from _twice("[[key]] name", (key.name for key in config.keys))
    yield from _twice("[[deployment]] name", (item.name for item in config.deployments))
    yield from _twice("[[virtual]] name", (item.name for item in config.virtuals))
    for deployment in config.deployments:
        yield from _deployment(deployment)
        yield from differences(deployment)
    deployments = {deployment.name for deployment in config.deployments}
    for virtual in config.virtuals:
        if virtual.name in deployments:
            yield f"[[virtual]] {virtual.name}", "is also the name of a deployment"
    if deployments or config.models.fleet == "none":
        yield from _references(config, deployments)
    yield from _shadow(config, deployments)
    yield from drafting(config)
    if config.routing.first_token_timeout_s > config.routing.stage_timeout_s:
        yield "[routing] first_token_timeout_s", "is longer than stage_timeout_s"


def _deployment(deployment: DeploymentTable) -> Iterable[tuple[str, str]]:
    """Yield what is wrong with one ``[[deployment]]``."""
    where = f"[[deployment]] {deployment.name}"
    if deployment.name in _RESERVED:
        yield f"{where} name", "is reserved for a virtual model"
    if deployment.kind == "local":
        if deployment.model is None:
            yield f"{where} model", "is missing: a local deployment names a model of the catalogue"
        for key in ("base_url", "upstream_model", "api_key"):
            if getattr(deployment, key) is not None:
                yield f"{where} {key}", "belongs to remote deployments; this one is local"
        if deployment.options:
            yield f"{where} options", "are a backend's, and this one is local"
    elif deployment.base_url is None:
        yield f"{where} base_url", f"is missing: a {deployment.kind} deployment needs one"
    if deployment.kind == "remote" and deployment.device is not None:
        yield f"{where} device", 'belongs to deployments on this machine: kind = "server" or "pool"'
    yield from _sleep(where, deployment)
    prices = deployment.input_usd_per_million_tokens, deployment.output_usd_per_million_tokens
    if (prices[0] is None) != (prices[1] is None):
        yield where, "give both input_ and output_usd_per_million_tokens, or neither"
    yield from _twice(f"{where} variants", (variant.name for variant in deployment.variants))


def _sleep(where: str, deployment: DeploymentTable) -> Iterable[tuple[str, str]]:
    """Yield what is wrong with how a deployment is put to sleep."""
    table = deployment.sleep
    if table is None:
        return
    if deployment.kind == "local" and (table.hand is not None or table.options):
        yield (
            f"{where} sleep.hand",
            "belongs to others: a local process is started and stopped here",
        )
    elif deployment.kind != "local" and table.hand is None:
        yield (
            f"{where} sleep.hand",
            "is missing: it says who wakes it (vllm, llama_swap, systemd …)",
        )
    if table.idle_w is not None and table.asleep_w is not None and table.asleep_w > table.idle_w:
        yield f"{where} sleep.asleep_w", "is more than idle_w"


def _references(config: Config, deployments: set[str]) -> Iterable[tuple[str, str]]:
    """Yield names of deployments that do not exist (the default fleet does not run)."""
    if not deployments:
        yield "[models] fleet", '"none" needs at least one [[deployment]]'
    reference = config.routing.reference
    if reference is not None and reference not in deployments:
        yield "[routing] reference", f'"{reference}" is no deployment'
    yield from targets(config, deployments)
    for name in (one.deployment for one in config.checkpoints):
        if name not in deployments:
            yield "[[checkpoint]] deployment", f'"{name}" is no deployment'


def _shadow(config: Config, deployments: set[str]) -> Iterable[tuple[str, str]]:
    """Yield names in ``[shadow]`` that are no deployments, and what the switch lacks."""
    table = config.shadow
    upstream = table.upstream
    if upstream is None:
        return
    named = [("candidates", name) for name in table.candidates]
    named += [("judge", table.judge)] if table.judge is not None else []
    for key, name in named:
        if deployments and name not in deployments:
            yield f"[shadow] {key}", f'"{name}" is no deployment'
    if table.url is not None:
        if table.mode == "route" and table.model is None:
            yield "[shadow] model", "is missing: what is the upstream to be asked for?"
        return
    found = next((one for one in config.deployments if one.name == upstream), None)
    if found is None:
        yield "[shadow] upstream", f'"{upstream}" is neither a base URL nor a deployment'
    elif found.base_url is None:
        yield "[shadow] upstream", "must listen somewhere: a local deployment has no base_url"


def _twice(where: str, names: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Yield names that occur more than once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield where, f'"{name}" is given twice'
        seen.add(name)
