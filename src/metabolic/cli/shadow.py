"""``metabolic shadow``: what the shadow of live traffic has found, and the line that switches."""

__all__ = ["app", "certificates", "read_rows", "report", "switch_lines"]

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from metabolic.calibrate.fit import Asked, fit
from metabolic.calibrate.rows import Labelled
from metabolic.cli import show
from metabolic.cli.ledgers import moment
from metabolic.config import Config, load
from metabolic.config.certificates import write_certificates
from metabolic.core.certificate import Certificate, Labeller
from metabolic.core.errors import ConfigError
from metabolic.core.shadow import ShadowRow
from metabolic.decide.shadow import Interval
from metabolic.decide.shadow_label import by_feedback
from metabolic.decide.shadow_totals import Findings, Totals

Flag = Annotated[bool, Parameter(negative="")]

app = App(name="shadow", help="What shadow mode has found.", result_action="return_value")


@app.command
def report(
    *,
    since: str | None = None,
    certificate: Path | None = None,
    labels: Path | None = None,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    json: Flag = False,
) -> int:
    """Say what a switch would save and lose, how sure that is, and how to switch.

    Exits with 0 when it says to switch, with 1 when it says not to, or not yet.

    Args:
        since: Rows from when on: ``7d``, ``2026-11-22``.
        certificate: Write the certificate draft here, for [[certificate]] path.
        labels: Write the labelled rows here, as `metabolic calibrate` reads them.
        config: The configuration file.
        json: Print JSON instead of tables.
    """
    settings = load(config)
    rows = read_rows(settings, since=since)
    totals = Totals()
    for row in rows:
        totals.add(row)
    found = totals.findings(max_loss_ratio=settings.shadow.max_loss_ratio)
    drafts = certificates(rows, settings)
    if certificate is not None:
        write_certificates(certificate, drafts)
    if labels is not None:
        labels.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in _exported(rows)))
    lines = switch_lines(settings)
    if json:
        show.print_json(
            {
                "findings": msgspec.to_builtins(found),
                "certificates": msgspec.to_builtins(drafts),
                "switch": lines,
            }
        )
    else:
        _print(found, drafts, lines)
    return 0 if found.verdict == "switch" else 1


def read_rows(settings: Config, *, since: str | None = None) -> list[ShadowRow]:
    """Return the rows of a configuration's shadow, with what its users said since.

    Raises:
        ConfigError: no upstream is configured, or nothing is kept.
    """
    from metabolic.wiring.lanes import LaneFiles  # noqa: PLC0415 - `--help` does without
    from metabolic.wiring.shadow import ShadowFiles  # noqa: PLC0415 - as above

    files = ShadowFiles(settings)
    if files.rows is None:
        message = "this ledger keeps nothing, and so keeps no rows of a shadow"
        raise ConfigError(message)
    since_s = moment(since, now_s=time.time())
    found = [row for row in files.read() if since_s is None or row.at_s >= since_s]
    said = _feedback(LaneFiles(settings).labels)
    return [by_feedback(row, said[row.id]) if row.id in said else row for row in found]


def _feedback(path: Path | None) -> dict[str, float]:
    """Return what users said of answers that were passed on, by request."""
    found: dict[str, float] = {}
    if path is None or not path.exists():
        return found
    for line in path.read_bytes().splitlines():
        try:
            one = msgspec.json.decode(line, type=_Said)
        except msgspec.MsgspecError:
            continue  # a torn line labels nothing
        if one.by == "user_feedback" and one.correct is not None:
            found[one.id] = one.correct
    return found


class _Said(msgspec.Struct):
    """As much of a label as is needed here."""

    id: str
    correct: float | None = None
    by: str = "user_feedback"


def certificates(rows: Iterable[ShadowRow], settings: Config) -> tuple[Certificate, ...]:
    """Return the certificate draft: each lane and tier, certified or with what it lacks."""
    from metabolic.wiring.certificates import score_of  # noqa: PLC0415 - `--help` does without

    table, labelled = settings.shadow, list(rows)
    by_labeller: dict[Labeller, list[Labelled]] = {}
    for row in labelled:
        if row.loss is None or row.labeller is None or row.deployment is None:
            continue
        by_labeller.setdefault(row.labeller, []).append(
            Labelled(
                lane=row.lane,
                confidence=row.score,
                loss=row.loss,
                propensity=row.draft_propensity,
                deployment=row.deployment,
                reference=row.reference,
            )
        )
    if not by_labeller:
        return ()
    weakest = max(by_labeller, key=_WEAKEST.index)
    return fit(
        [one for some in by_labeller.values() for one in some],
        Asked(
            labeller=weakest,
            score=score_of(settings),
            epsilon=table.max_loss_ratio,
            delta=table.p_exceed,
            seed=table.seed,
        ),
    )


_WEAKEST: tuple[Labeller, ...] = ("deterministic_check", "exact_match", "user_feedback", "judge")
"""A certificate over several labellers bears the name of the least certain one, the last."""


def _exported(rows: Sequence[ShadowRow]) -> Iterable[dict[str, object]]:
    """Yield labelled rows as ``metabolic calibrate`` reads them."""
    for row in rows:
        if row.loss is not None:
            yield {
                "id": row.id,
                "lane": row.lane,
                "score": row.score,
                "preference": row.loss,
                "propensity": row.draft_propensity,
                "deployment": row.deployment,
                "reference": row.reference,
                "labeller": row.labeller,
            }


def switch_lines(settings: Config) -> tuple[str, ...]:
    """Return what switches, one line each way: in the file, or on the command line."""
    table = settings.shadow
    if table.upstream is None:
        return ('in a configuration file: [shadow] upstream = "…", model = "…", mode = "route"',)
    model = "" if table.url is None or table.model else ' and model = "THE UPSTREAM\'S MODEL"'
    return (f'in [shadow]: mode = "route"{model}, then SIGHUP or a restart',)


def _print(found: Findings, drafts: Sequence[Certificate], lines: Sequence[str]) -> None:
    """Print for people."""
    console = show.console()
    said = (
        ("looked at", f"{found.rows:,} requests of {found.sessions:,} sessions"),
        ("labelled", f"{found.labelled:,} ({_named(found.labellers)})"),
        ("would be answered by a cheaper tier", f"{found.served_ratio:.1%}"),
        ("saved, USD", _range(found.saving_usd)),
        ("saved, joules of this machine", _range(found.saving_energy)),
        ("saved by 1,000 requests", _per_1000(found)),
        ("lost (share of all requests)", _range(found.loss)),
        ("of which nobody could judge", f"{found.unjudged_ratio:.1%}"),
        ("prompt cache lost", f"{found.lost_cached_tokens:,} tokens, charged above"),
        ("spent on measuring", f"{found.spent_usd:.4g} USD, {found.spent_energy_j:.4g} J"),
        ("best single model", found.best_single or "–"),
    )
    console.print(show.table("Shadow", ("what", ">figure"), said))
    alone = tuple(
        (
            one.deployment,
            f"{one.rows:,}",
            f"{one.labelled:,}",
            _range(one.saving_usd if found.unit == "USD" else one.saving_energy),
            _range(one.loss),
        )
        for one in found.alone
    )
    if alone:
        heads = ("alone", ">drafts", ">labelled", ">saves", ">loses")
        console.print(show.table("Each cheaper tier without a gate", heads, alone))
    for one in drafts:
        state = (
            f"kept from {one.thresholds[-1].min_confidence:g} on"
            if one.thresholds
            else f"{one.refused}"
        )
        text = f"certificate draft {one.lane}, {one.deployment}: {one.rows} rows, {state}"
        console.print(text, markup=False, soft_wrap=True)
    console.print(f"{found.verdict}: {found.why}", markup=False, style="bold")
    for line in lines:
        console.print(f"the switch, {line}", markup=False, soft_wrap=True)


def _range(found: Interval | None) -> str:
    """Return a share with its interval."""
    if found is None:
        return "unknown"
    if found.low is None or found.high is None:
        return f"{found.value:.1%} (too few sessions for an interval)"
    return f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"


def _per_1000(found: Findings) -> str:
    """Return what a thousand requests would save."""
    usd, joules = found.usd_per_1000, found.energy_j_per_1000
    parts = [f"{usd:.4g} USD"] if usd is not None else []
    parts += [f"{joules:.4g} J"] if joules is not None else []
    return ", ".join(parts) or "unknown"


def _named(pairs: Sequence[tuple[str, int]]) -> str:
    """Return counts by name in words."""
    return ", ".join(f"{count:,} by {name}" for name, count in pairs) or "nobody could say"
