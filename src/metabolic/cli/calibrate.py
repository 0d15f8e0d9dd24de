"""``metabolic calibrate``: certify which drafts may be kept, from labelled answers."""

__all__ = ["calibrate"]

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.calibrate.early import Drafted
from metabolic.calibrate.fit import Asked, fit
from metabolic.calibrate.labels import drafts_of, from_ledger
from metabolic.calibrate.rows import Labelled, labelled, read
from metabolic.cli import show
from metabolic.cli.ledgers import moment, open_ledger
from metabolic.config import Config, load
from metabolic.config.certificates import write_certificates
from metabolic.core.certificate import Certificate, Labeller
from metabolic.decide.assurance import AGREEMENT
from metabolic.decide.certificate import GRID

if TYPE_CHECKING:
    from rich.table import Table

Share = Annotated[float, Parameter(validator=Number(gt=0, lt=1))]
Flag = Annotated[bool, Parameter(negative="")]


def calibrate(  # noqa: PLR0913 - each is an option of the command
    labels: Path,
    *,
    labeller: Labeller,
    out: Path = Path("certificates.json"),
    epsilon: Share = 0.05,
    delta: Share = 0.1,
    deployment: str | None = None,
    reference: str | None = None,
    partner: str | None = None,
    score: str | None = None,
    grid: tuple[float, ...] = GRID,
    checkpoints: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = 0.2,
    from_records: Flag = False,
    ledger: Path | None = None,
    since: str | None = None,
    seed: int = 0,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    json: Flag = False,
) -> int:
    """Certify, lane by lane, at which confidence a small model's draft may be kept.

    Exits with 1 when no lane could be certified.

    Args:
        labels: A .jsonl, .csv or .parquet file: lane, score, and correct_small with correct_large,
            or preference (draft, reference, tie). With --from-records: id and the label.
        labeller: Who labelled: exact_match, deterministic_check, user_feedback or judge. Rows that
            say `by` somebody else are left out.
        out: Where to write the certificates.
        epsilon: The most that may be lost: share of queries, reference preferred less draft.
        delta: The chance that any lane loses more than that.
        deployment: Whose drafts, where the rows do not say.
        reference: Against whose answers, where the rows do not say.
        partner: Certify agreement with this deployment: the score is 1 where both say the same.
        score: The scorer's name and version; else that of the configuration's validators.
        grid: The thresholds to test, chosen without these rows.
        checkpoints: Learn where hopeless drafts are given up while they are written: from drafts
            of the ledger that nobody labelled, else from this share of the labelled rows, which
            the test then does without. 0 learns none.
        from_records: Take score, lane and deployments from the ledger's records.
        ledger: The ledger's file (else the configured one).
        since: Records from when on: ``7d``, ``2026-11-22``.
        seed: Of the order of the rows.
        config: The configuration file.
        json: Print JSON instead of a table.
    """
    settings = load(config)
    rows, drafts = _rows(
        labels, ledger, settings, since=since, labeller=labeller, joined=from_records
    )
    asked = Asked(
        labeller=labeller,
        score=score or (_score(settings) if partner is None else AGREEMENT),
        partner=partner,
        epsilon=epsilon,
        delta=delta,
        deployment=deployment,
        reference=reference,
        grid=grid,
        models=_models(settings),
        seed=seed,
        teach_ratio=checkpoints,
    )
    made = fit(rows, asked, drafts=drafts if checkpoints else ())
    write_certificates(out, made)
    return _print(made, out, as_json=json, bounded=sum(one.bounded for one in rows))


def _rows(
    labels: Path,
    ledger: Path | None,
    settings: Config,
    *,
    since: str | None,
    labeller: Labeller,
    joined: bool,
) -> tuple[list[Labelled], list[Drafted]]:
    """Return the labelled rows; ``joined`` with the ledger also the drafts nobody labelled."""
    said = read(labels)
    if not joined and ledger is None:
        return labelled(said, source=str(labels), labeller=labeller), []
    opened = open_ledger(ledger, settings)
    try:
        since_s = moment(since, now_s=time.time())
        rows = from_ledger(
            opened.records(since_s, None), said, source=str(labels), labeller=labeller
        )
        known = {str(row["id"]) for row in said if row.get("id")}
        return rows, list(drafts_of(opened.records(since_s, None), known))
    finally:
        opened.close()


def _score(settings: Config) -> str:
    """Return the name of the configured scorer."""
    from metabolic.wiring.certificates import score_of  # noqa: PLC0415 - `--help` does without

    return score_of(settings)


def _models(settings: Config) -> dict[str, str]:
    """Return model ids by deployment, as far as the configuration names them."""
    return {one.name: one.model or one.upstream_model or one.name for one in settings.deployments}


def _print(made: Sequence[Certificate], out: Path, *, as_json: bool, bounded: int) -> int:
    """Print what was certified and what was refused; return 1 if nothing was certified."""
    failed = int(all(one.refused is not None for one in made))
    if as_json:
        show.print_json(made)
        return failed
    console = show.console()
    console.print(_table(made))
    for one in made:
        if one.refused is not None:
            console.print(f"{one.lane}: refused: {one.refused}", markup=False, soft_wrap=True)
        for at in one.checkpoints:
            console.print(
                f"{one.lane}: given up after {at.tokens} tokens below {at.min_logprob:.2f} nats,"
                f" learned from {at.rows} kept drafts",
                markup=False,
                soft_wrap=True,
            )
    if bounded:
        console.print(
            f"{bounded} rows had one answer labelled: the most that can have been lost counts",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"written to {out}; name it in [[certificate]] path", markup=False)
    return failed


def _table(made: Sequence[Certificate]) -> "Table":
    """Return certificates as a table; the figures are those of the loosest threshold."""
    heads = ("lane", "drafts", "reference", ">rows", ">needed", ">certified", ">from", ">kept")
    rows: list[tuple[str, ...]] = []
    for one in made:
        last = one.thresholds[-1] if one.thresholds else None
        rows.append(
            (
                one.lane,
                one.deployment,
                one.reference,
                str(one.rows),
                "–" if one.labels_needed is None else str(one.labels_needed),
                f"{len(one.thresholds)} of {one.tested}",
                show.figure(None if last is None else last.min_confidence),
                show.figure(None if last is None else last.kept_ratio),
                show.figure(None if last is None else last.loss_ratio),
                show.figure(None if last is None else last.kept_loss_ratio),
            )
        )
    return show.table("Certificates", (*heads, ">loss", ">among kept"), rows)
