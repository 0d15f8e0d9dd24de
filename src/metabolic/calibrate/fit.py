"""One certificate for each lane and small deployment, holding jointly."""

__all__ = ["Asked", "fit"]

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.calibrate.early import Drafted, learned, with_checkpoints
from metabolic.calibrate.rows import Labelled, thin
from metabolic.core.certificate import Certificate, Labeller
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.errors import ConfigError
from metabolic.decide.certificate import GRID, Pair, Subject, certify


class Asked(Struct, frozen=True, kw_only=True):
    """What is to be certified.

    ``epsilon`` is the most that may be lost, ``delta`` the chance that any lane loses more.
    ``deployment`` and ``reference`` hold for rows that do not name theirs; ``models`` are model
    ids by deployment, as far as known. With a ``partner`` the rows' score is 1 where its answer and
    the draft say the same, else 0. ``teach_ratio`` of the rows may teach checkpoints, where there
    are no other drafts to learn them from.
    """

    labeller: Labeller
    score: str
    epsilon: float = 0.05
    delta: float = 0.1
    deployment: str | None = None
    reference: str | None = None
    partner: str | None = None
    grid: tuple[float, ...] = GRID
    models: Mapping[str, str] = {}
    seed: int = 0
    teach_ratio: float = 0.0


def fit(
    rows: Iterable[Labelled], asked: Asked, *, drafts: Sequence[Drafted] = ()
) -> tuple[Certificate, ...]:
    """Return a certificate for each lane and pair, also those that were refused, by lane.

    Every lane with rows counts when ``delta`` is split, certified or not, so which lanes are
    certified cannot bias the split. ``drafts`` without labels teach checkpoints.

    Raises:
        ConfigError: no rows, or rows of which nobody knows whose they are.
    """
    groups: dict[tuple[str, str, str], list[Labelled]] = {}
    for one in rows:
        small, large = one.deployment or asked.deployment, one.reference or asked.reference
        if small is None or large is None:
            message = "whose drafts, against whose answers? give --deployment and --reference"
            raise ConfigError(message)
        groups.setdefault((one.lane, small, large), []).append(one)
    if not groups:
        message = "there are no labelled rows"
        raise ConfigError(message)
    return tuple(
        _one(
            found,
            Subject(
                lane=lane,
                deployment=small,
                reference=large,
                labeller=asked.labeller,
                score=asked.score,
                models=_models(asked, small, large),
                partner=asked.partner,
            ),
            asked,
            lanes=len(groups),
            drafts=[one for one in drafts if (one.lane, one.deployment) == (lane, small)],
        )
        for (lane, small, large), found in sorted(groups.items())
    )


def _models(asked: Asked, small: str, large: str) -> tuple[str, ...]:
    """Return the model ids of who is certified; nothing if one of them is not known."""
    names = (small, large) if asked.partner is None else (small, large, asked.partner)
    known = tuple(model for name in names if (model := asked.models.get(name)) is not None)
    return known if len(known) == len(names) else ()


def _one(
    found: Sequence[Labelled],
    subject: Subject,
    asked: Asked,
    *,
    lanes: int,
    drafts: Sequence[Drafted],
) -> Certificate:
    """Return the certificate of one lane, with the checkpoints it was tested with."""
    drawn = thin(found, seed=asked.seed)
    stops: tuple[Checkpoint, ...] = ()
    if subject.partner is None:  # two drafts that are compared are both written to their end
        stops, drawn = learned(
            drawn,
            drafts,
            deployment=subject.deployment,
            lane=subject.lane,
            epsilon=asked.epsilon,
            share=asked.teach_ratio,
            grid=asked.grid,
        )
    return certify(
        [Pair(confidence=one.confidence, loss=one.loss) for one in with_checkpoints(drawn, stops)],
        replace(subject, checkpoints=stops),
        epsilon=asked.epsilon,
        delta=asked.delta,
        lanes=lanes,
        grid=asked.grid,
        seed=asked.seed,
    )
