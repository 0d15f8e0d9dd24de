"""The tables of the configuration file, with their defaults and ranges."""

__all__ = [
    "NAME",
    "SHA256",
    "URL",
    "AdapterTable",
    "BeliefTable",
    "CertificateTable",
    "CheckpointTable",
    "Config",
    "DeploymentTable",
    "EnergyTable",
    "EnginesTable",
    "KeyTable",
    "LedgerTable",
    "ModelsTable",
    "ProfileTable",
    "RoutingTable",
    "SenseTable",
    "ServerTable",
    "VirtualTable",
]

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from metabolic.account.zones import WORLD_G_PER_KWH, intensity_of
from metabolic.config.actuators import ActuatorsTable
from metabolic.config.admin import AdminTable
from metabolic.config.cache import CacheTable
from metabolic.config.capacity import CapacityTable
from metabolic.config.delivery import DeliveryTable
from metabolic.config.lanes import LanesTable, PinTable
from metabolic.config.secret import Secret
from metabolic.config.shadow import ShadowTable
from metabolic.config.sleep import SleepTable
from metabolic.config.speculation import DraftTable, SpeculationTable
from metabolic.config.tasks import TasksTable
from metabolic.config.variants import VariantTable
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Belief
from metabolic.core.delivery import Delivery
from metabolic.core.fleet import Capability, Endpoint, Price, Tier

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$"
URL = r"^https?://[^\s?#@]+$"
SHA256 = r"^[0-9a-fA-F]{64}$"

Name = Annotated[str, Meta(pattern=NAME)]
Url = Annotated[str, Meta(pattern=URL)]
Sha256 = Annotated[str, Meta(pattern=SHA256)]

_TOKENS_PER_MILLION = 1_000_000.0


class ServerTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[server]``: where the gateway listens and what it lets in.

    A ``host`` outside loopback needs at least one ``[[key]]``.
    """

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    body_limit_bytes: Annotated[int, Meta(ge=1024)] = 16 * 1024 * 1024
    keep_alive_s: Positive = 5.0
    drain_s: NotNegative = 30.0
    max_in_flight: Count = 256
    idempotency_s: NotNegative = 600.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class KeyTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[key]]``: a client's API key, as the SHA-256 of it in hexadecimal."""

    name: Name
    sha256: Sha256


class ProfileTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[profile]``: what the machine may spend; ``preference`` 0 is quality, 1 is thrift.

    ``auto`` takes what suits the machine, and ``mcu`` while its battery is low. ``power_budget_w``
    is what the machine may draw (``None``: no budget); the others replace the profile's own.
    """

    name: Literal["auto", "datacenter", "edge", "mcu"] = "auto"
    preference: Ratio | None = None
    power_budget_w: Positive | None = None
    battery_reserve_ratio: Ratio | None = None
    warm_loss_ratio: Ratio | None = None
    hot_loss_ratio: Ratio | None = None


class EnergyTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[energy]``: what electricity costs here, and how to model a CPU that has no meter.

    ``zone`` takes the yearly average of a country, ``g_per_kwh`` overrides it (``None`` without
    both: the world's); ``market_g_per_kwh`` is that of the electricity that is bought. ``pue`` is
    what the building draws over what the machine does. ``embodied_kg_co2e`` is what making the
    machine took. ``cpu_w_per_core`` is the power one busy core adds; ``cpu_idle_w`` what the
    package draws idle (``None``: unknown).
    """

    usd_per_kwh: NotNegative = 0.15
    zone: str | None = None
    g_per_kwh: NotNegative | None = None
    market_g_per_kwh: NotNegative | None = None
    usd_per_kg_co2e: NotNegative = 0.0
    pue: Annotated[float, Meta(ge=1, le=5)] = 1.0
    embodied_kg_co2e: NotNegative | None = None
    lifetime_years: Positive = 4.0
    water_l_per_kwh: NotNegative | None = None
    cpu_w_per_core: Positive = 4.0
    cpu_idle_w: NotNegative | None = None

    def intensity_g_per_kwh(self) -> float:
        """Return the grid's: as configured, else the zone's, else the world's."""
        if self.g_per_kwh is not None:
            return self.g_per_kwh
        known = None if self.zone is None else intensity_of(self.zone)
        return WORLD_G_PER_KWH if known is None else known.g_per_kwh


class SenseTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[sense]``: how often the machine is read; ``/sys`` and ``/proc`` lie under ``root``."""

    enabled: bool = True
    period_s: Annotated[float, Meta(ge=0.01, le=60)] = 0.1
    root: str = "/"


class AdapterTable(Struct, frozen=True, kw_only=True):
    """``kind`` names an adapter; every other key is an option of that adapter, or a ``Secret``.

    Used by ``[[sensor]]``, ``[[meter]]``, ``routing.classifier`` and ``routing.validators``.
    """

    kind: str
    options: Mapping[str, object]


class ModelsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models]``: where model files are kept; which run where no ``[[deployment]]`` is.

    ``fleet``: ``auto`` takes the general models where the hub is reachable and the registry's
    otherwise; ``general`` and ``registry`` insist; ``none`` runs only what ``[[deployment]]``
    names. ``mirrors = false`` forbids the registry source. ``dir``: ``None`` is
    ``METABOLIC_MODELS`` or the user's cache directory.
    """

    dir: str | None = None
    mirrors: bool = True
    fleet: Literal["auto", "general", "registry", "none"] = "auto"


class EnginesTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[engines]``: how local models run; ``None`` lets the supervisor choose from free memory."""

    idle_sleep_s: Positive = 900.0
    memory_reserve_bytes: Annotated[int, Meta(ge=0)] = 512 * 1024 * 1024
    threads: Count | None = None
    slots: Count | None = None
    context_tokens: Annotated[int, Meta(ge=256)] | None = None
    start_timeout_s: Positive = 120.0


class DeploymentTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[deployment]]``: a model somewhere that can answer.

    ``local`` needs ``model``, an id of the catalogue; the others need ``base_url``. ``engine``
    says what answers there; ``openai`` is anything compatible. ``server`` is one engine of
    your own, ``pool`` a fleet of replicas that picks among them itself; ``remote`` an API that
    bills per token. ``backend`` ``None`` is
    the engine's. Prices are dollars per million tokens; ``None`` is unknown.
    ``device`` is the one of this machine that it runs on, ``usd_per_hour`` its rent.
    ``options`` are the backend's own (a proxy, headers, a CA file), for all but ``local``.
    """

    name: Name
    kind: Literal["local", "remote", "pool", "server"] = "remote"
    model: str | None = None
    base_url: Url | None = None
    upstream_model: str | None = None
    api_key: Secret | None = None
    engine: str = "openai"
    backend: str | None = None
    tier: Tier | None = None
    active_parameters: Count | None = None
    total_parameters: Count | None = None
    context_tokens: Count | None = None
    capabilities: tuple[Capability, ...] | None = None
    input_usd_per_million_tokens: NotNegative | None = None
    output_usd_per_million_tokens: NotNegative | None = None
    cached_usd_per_million_tokens: NotNegative | None = None
    cache_write_usd_per_million_tokens: NotNegative | None = None
    prefill_tokens_per_s: Positive | None = None
    decode_tokens_per_s: Positive | None = None
    active_w: Positive | None = None
    device: Name | None = None
    usd_per_hour: NotNegative | None = None
    tasks: tuple[str, ...] = ()
    slots: Count | None = None
    variants: tuple[VariantTable, ...] = ()
    speculation: DraftTable | None = None
    options: Mapping[str, object] = {}
    sleep: SleepTable | None = None
    cache: CacheTable | None = None

    def price(self) -> Price | None:
        """Return dollars per token; ``None`` when no price is given."""
        given = self.input_usd_per_million_tokens, self.output_usd_per_million_tokens
        if given[0] is None or given[1] is None:
            return None
        return Price(
            input_usd_per_token=given[0] / _TOKENS_PER_MILLION,
            output_usd_per_token=given[1] / _TOKENS_PER_MILLION,
            cached_usd_per_token=_per_token(self.cached_usd_per_million_tokens),
            cache_write_usd_per_token=_per_token(self.cache_write_usd_per_million_tokens),
        )

    def endpoint(self) -> Endpoint | None:
        """Return where it listens; ``None`` for a local one, whose engine says so itself."""
        if self.base_url is None:
            return None
        return Endpoint(
            deployment=self.name,
            base_url=self.base_url.rstrip("/"),
            model=self.upstream_model or self.name,
            api_key=self.api_key.reveal() if self.api_key else None,
            backend=self.backend or ("anthropic" if self.engine == "anthropic" else "openai"),
            engine=self.engine,
        )


class VirtualTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[virtual]]``: a model name that routes among ``allowed`` (``()``: all deployments).

    ``delivery`` ``None`` is that of ``[delivery]``.
    """

    name: Name
    allowed: tuple[str, ...] = ()
    preference: Ratio | None = None
    delivery: Literal["auto"] | Delivery | None = None


class BeliefTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[belief]]``: what is known of one deployment on one lane (``*``: on all)."""

    deployment: str
    lane: str = "*"
    p_correct: Ratio
    p_accept: Ratio | None = None
    p_correct_accepted: Ratio | None = None
    evidence: Annotated[int, Meta(ge=0)] = 0

    def belief(self) -> Belief:
        """Return it as a value of the core."""
        return Belief(
            deployment=self.deployment,
            lane=self.lane,
            p_correct=self.p_correct,
            p_accept=self.p_accept,
            p_correct_accepted=self.p_correct_accepted,
            evidence=self.evidence,
        )


class CheckpointTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[checkpoint]]``: where a draft of one deployment may be given up while it is written."""

    deployment: str
    lane: str = "*"
    tokens: Annotated[int, Meta(ge=1, le=4096)]
    min_logprob: Annotated[float, Meta(ge=-100, le=0)]
    rows: Annotated[int, Meta(ge=0)] = 0
    release_logprob: Annotated[float, Meta(ge=-100, le=0)] | None = None

    def checkpoint(self) -> Checkpoint:
        """Return it as a value of the core."""
        return Checkpoint(
            deployment=self.deployment,
            lane=self.lane,
            tokens=self.tokens,
            min_logprob=self.min_logprob,
            rows=self.rows,
            release_logprob=self.release_logprob,
        )


class CertificateTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[certificate]]``: a file that ``metabolic calibrate`` wrote; relative to this file."""

    path: Annotated[str, Meta(min_length=1)]


class RoutingTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[routing]``: how to choose among deployments, and how long to wait for each.

    ``reference`` names the always-used alternative on receipts (``None``: the best by belief).
    """

    kind: Literal["net_cost", "best", "cheapest"] = "net_cost"
    max_stages: Annotated[int, Meta(ge=1, le=8)] = 3
    max_strong_share: Annotated[float, Meta(gt=0, le=1)] | None = None
    connect_timeout_s: Positive = 5.0
    first_token_timeout_s: Positive = 120.0
    stall_timeout_s: Positive = 60.0
    stage_timeout_s: Positive = 300.0
    continuation: bool = True
    wait_usd_per_hour: NotNegative = 0.0
    reference: str | None = None
    classifier: AdapterTable = AdapterTable(kind="rules", options={})
    validators: tuple[AdapterTable, ...] = (
        AdapterTable(kind="shape", options={}),
        AdapterTable(kind="confidence", options={}),
    )


class LedgerTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[ledger]``: where receipts are kept; ``path`` ``None`` is the user's state directory.

    ``queue`` is how many records may wait to be written before further ones are dropped, and
    counted. ``options`` are further ones of that kind of ledger.
    """

    kind: str = "sqlite"
    path: str | None = None
    retention_days: Positive = 90.0
    queue: Count = 10_000
    options: Mapping[str, object] = {}


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration; ``source`` is its file, or ``embedded defaults``.

    ``origins`` lists the keys that are not at their default, each with who set it (the file, a
    command-line flag): ``("server.port", "metabolic.toml")``.
    """

    server: ServerTable = ServerTable()
    admin: AdminTable = AdminTable()
    keys: tuple[KeyTable, ...] = ()
    profile: ProfileTable = ProfileTable()
    energy: EnergyTable = EnergyTable()
    sense: SenseTable = SenseTable()
    sensors: tuple[AdapterTable, ...] = ()
    meters: tuple[AdapterTable, ...] = ()
    models: ModelsTable = ModelsTable()
    engines: EnginesTable = EnginesTable()
    capacity: CapacityTable = CapacityTable()
    actuators: ActuatorsTable = ActuatorsTable()
    limiters: tuple[AdapterTable, ...] = ()
    speculation: SpeculationTable = SpeculationTable()
    deployments: tuple[DeploymentTable, ...] = ()
    virtuals: tuple[VirtualTable, ...] = ()
    beliefs: tuple[BeliefTable, ...] = ()
    certificates: tuple[CertificateTable, ...] = ()
    checkpoints: tuple[CheckpointTable, ...] = ()
    routing: RoutingTable = RoutingTable()
    delivery: DeliveryTable = DeliveryTable()
    lanes: LanesTable = LanesTable()
    pins: tuple[PinTable, ...] = ()
    shadow: ShadowTable = ShadowTable()
    tasks: TasksTable = TasksTable()
    ledger: LedgerTable = LedgerTable()
    source: str = "embedded defaults"
    origins: tuple[tuple[str, str], ...] = ()


def _per_token(usd_per_million_tokens: float | None) -> float | None:
    """Return dollars per token; unknown stays unknown."""
    return None if usd_per_million_tokens is None else usd_per_million_tokens / _TOKENS_PER_MILLION
