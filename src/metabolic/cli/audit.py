"""``metabolic audit``: what a log cost, and what a change would save."""

__all__ = ["audit"]

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.account.zones import WORLD_G_PER_KWH, intensity_of
from metabolic.audit.parts import Spread
from metabolic.audit.postgres import is_database
from metabolic.audit.price_update import kept_path
from metabolic.audit.prices import Entry, PriceTable, read_prices
from metabolic.audit.ray_data import ray_spread
from metabolic.audit.result import Audit
from metabolic.audit.run import Options, run
from metabolic.cli.audit_inputs import Bar, candidates_in, files_of, records, router
from metabolic.cli.audit_tables import print_audit
from metabolic.core.errors import ConfigError

Ratio = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]


def audit(  # noqa: PLR0913 - each is an option of the command
    logs: Annotated[tuple[str, ...], Parameter(negative="")],
    /,
    *,
    html: Path | None = None,
    prices: Path | None = None,
    candidate: tuple[str, ...] = (),
    catalogue: Path | None = None,
    epsilon: Ratio = 0.02,
    zone: str | None = None,
    running: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
    memory: Annotated[int, Parameter(validator=Number(gte=64))] = 1024,
    threads: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    seed: int = 0,
    ray: str | None = None,
    spool: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Read logs of inference: what was spent and wasted, and what a change would save, net.

    Reads OpenAI request logs and usage exports, LiteLLM spend logs, OpenTelemetry GenAI spans,
    access logs of vLLM, nginx and Envoy, our own ledger, and neutral rows; JSON lines, JSON, CSV
    and Parquet, packed or not. Needs the extra `audit`. Nothing leaves the machine.

    Args:
        logs: Files, folders of files, or a LiteLLM database: postgresql://HOST/NAME.
        html: Write a report as one self-contained HTML file.
        prices: Prices that go before those that came along or were fetched (TOML).
        candidate: A model that might serve instead; may be repeated.
        catalogue: Models that might serve instead: a configuration's deployments, or prices (TOML).
        epsilon: The loss of quality that is allowed in each lane.
        zone: The grid's zone, two letters (else the world's average).
        running: What running the change costs, in USD a month.
        memory: The reader's memory in MB; what does not fit goes to a temporary file.
        threads: Of the reader (else one a core, four at most).
        seed: Of the bootstrap.
        ray: Read files on Ray Data (extra `ray`): "local", or a cluster's address.
        spool: A folder all nodes of the cluster see, for the rows read there.
        json: Print one JSON object instead of tables.
    """
    paths, databases = _logs(logs)
    options = Options(
        paths=paths,
        databases=databases,
        spool=spool,
        candidates=candidate,
        catalogue=_models(catalogue),
        epsilon=epsilon,
        g_per_kwh=_intensity(zone),
        running_usd_per_month=running,
        memory_mb=memory,
        threads=threads or min(4, os.cpu_count() or 1),
        seed=seed,
    )
    spread = None if ray is None else ray_spread(None if ray == "local" else ray)
    found = _run(options, read_prices(prices, kept=kept_path()), spread)
    if html is not None:
        _write(html, found)
    if json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        print_audit(found)


def _logs(logs: Iterable[str]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return files and databases.

    Raises:
        ConfigError: there are none.
    """
    names = tuple(logs)
    paths = files_of(Path(one) for one in names if not is_database(one))
    databases = tuple(one for one in names if is_database(one))
    if not paths and not databases:
        message = "no logs: name files or folders"
        raise ConfigError(message)
    return paths, databases


def _models(catalogue: Path | None) -> tuple[Entry, ...]:
    """Return a catalogue's entries, and say whom it has no price for."""
    if catalogue is None:
        return ()
    models = candidates_in(catalogue)
    if models.left_out:
        print(f"no price, left out: {', '.join(models.left_out)}", file=sys.stderr)
    return models.entries


def _run(options: Options, table: PriceTable, spread: Spread | None) -> Audit:
    """Return the audit, with a bar where somebody looks."""
    with Bar() as bar:
        return run(
            options,
            prices=table,
            classify=router(),
            records=records,
            progress=bar.tell,
            spread=spread,
        )


def _write(path: Path, found: Audit) -> None:
    """Write the report as HTML.

    Raises:
        ConfigError: it cannot be written.
    """
    from metabolic.audit.html import html_report  # noqa: PLC0415 - only when asked for

    try:
        path.write_text(html_report(found), encoding="utf-8")
    except OSError as exc:
        message = f"{path}: {exc.strerror or exc}"
        raise ConfigError(message) from exc


def _intensity(zone: str | None) -> float:
    """Return grams per kWh. Raises ``ConfigError`` for a zone that is not known."""
    if zone is None:
        return WORLD_G_PER_KWH
    found = intensity_of(zone)
    if found is None:
        message = f'no grid "{zone}": write a country as two letters, such as DE'
        raise ConfigError(message)
    return found.g_per_kwh
