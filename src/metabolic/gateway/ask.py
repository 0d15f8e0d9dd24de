"""From headers and model name to an ``Ask``: what the decision may see of a request."""

__all__ = ["Delivering", "Names", "Virtual", "make_ask", "session"]

import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal, NoReturn

from msgspec import Struct

from metabolic.config import VirtualTable
from metabolic.core.delivery import Delivery
from metabolic.core.errors import RequestError, UnknownModel
from metabolic.core.request import Ask, Limits, Request, WarmPrefix
from metabolic.core.signals import TASKS
from metabolic.edge import measure

Delivering = Literal["auto"] | Delivery
"""How an answer may be asked to leave."""

_WORDS = {
    b"quality": 0.0,
    b"best": 0.0,
    b"balanced": 0.5,
    b"thrift": 1.0,
    b"cheap": 1.0,
    b"fast": 1.0,
}
"""Words for the dial: 0 is quality, 1 is thrift."""

_DELIVERIES: dict[bytes, Delivering] = {
    b"auto": "auto",
    b"stream": "stream",
    b"hold": "hold",
    b"window": "window",
    b"hedge": "hedge",
    b"replace": "replace",
}

_TASKS = frozenset(TASKS)
_SESSION_CHARS = 128
_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_HIGHEST = 9


class Virtual(Struct, frozen=True, kw_only=True):
    """A name that routes: among whom, and with which preference (``None``: the policy's).

    ``delivery`` is for clients that do not say how the answer is to leave; ``None`` is that of
    ``[delivery]``.
    """

    allowed: tuple[str, ...] = ()
    preference: float | None = None
    delivery: Delivering | None = None


_BUILTIN = {
    "auto": Virtual(),
    "auto:fast": Virtual(preference=1.0),
    "auto:best": Virtual(preference=0.0),
}


class Names:
    """The model names clients may use: virtual ones, and the deployments that are pinned."""

    __slots__ = ("delivery", "deployments", "virtual")

    def __init__(
        self,
        virtuals: Iterable[VirtualTable],
        deployments: Iterable[str],
        *,
        delivery: Delivering = "auto",
    ) -> None:
        """Lay the configured virtual models over the built-in ones.

        ``delivery`` is for clients, and virtual models, that do not say.
        """
        own = {
            v.name: Virtual(allowed=v.allowed, preference=v.preference, delivery=v.delivery)
            for v in virtuals
        }
        self.delivery: Delivering = delivery
        self.virtual: dict[str, Virtual] = _BUILTIN | own
        self.deployments = frozenset(deployments)

    def resolve(self, model: str) -> tuple[Virtual, str | None]:
        """Return the virtual model and the pinned deployment (``None`` when it routes).

        Raises:
            UnknownModel: neither a deployment nor a virtual model has that name.
        """
        found = self.virtual.get(model)
        if found is not None:
            return found, None
        if model in self.deployments:
            return _BUILTIN["auto"], model
        message = f"The model '{model[:_SESSION_CHARS]}' does not exist here: see GET /v1/models."
        raise UnknownModel(message, param="model")


def make_ask(
    request: Request,
    headers: Mapping[bytes, bytes],
    *,
    names: Names,
    at_s: float,
    tenant: str | None,
    extras: tuple[tuple[WarmPrefix, ...], str | None],
) -> Ask:
    """Return what the decision may see: no text.

    ``at_s`` is seconds since the epoch; ``extras`` is what session memory knows.

    Raises:
        RequestError: a header's value is not allowed; the message names the header.
        UnknownModel: the model's name is not known.
    """
    virtual, pin = names.resolve(request.model)
    get = headers.get
    dial, task = get(b"metabolic-preference"), get(b"metabolic-task")
    delivery, priority = get(b"metabolic-delivery"), get(b"metabolic-priority")
    wanted, tokens = measure(request)
    return Ask(
        id=request.id,
        at_s=at_s,
        dialect=request.dialect,
        tenant=tenant,
        session=session(headers),
        task=None if task is None else _task(task),
        pin=pin,
        allowed=virtual.allowed,
        preference=virtual.preference if dial is None else _preference(dial),
        delivery=_delivery(request, delivery, virtual.delivery or names.delivery),
        n=request.n,
        stream=request.stream,
        needs=wanted,
        priority=0 if priority is None else _priority(priority),
        input_tokens=tokens,
        max_output_tokens=request.sampling.max_output_tokens,
        limits=_limits(headers),
        warm=extras[0],
        conversation_pin=extras[1],
        own_effort=request.sampling.own_effort,
    )


def session(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the client's name for its conversation. Raises ``RequestError``."""
    value = headers.get(b"metabolic-session")
    if value is None:
        return None
    text = value.decode("latin-1")
    if not text or len(text) > _SESSION_CHARS or not (text.isascii() and text.isprintable()):
        _refuse("metabolic-session", f"must be 1 to {_SESSION_CHARS} printable ASCII characters")
    return text


_NO_LIMITS = Limits()


def _limits(headers: Mapping[bytes, bytes]) -> Limits:
    """Read ``metabolic-max-cost`` (USD), ``-max-energy`` (J) and ``-deadline`` (s)."""
    cost = headers.get(b"metabolic-max-cost")
    energy = headers.get(b"metabolic-max-energy")
    deadline = headers.get(b"metabolic-deadline")
    if cost is None and energy is None and deadline is None:
        return _NO_LIMITS
    return Limits(
        max_cost_usd=_number("metabolic-max-cost", cost, "dollars, 0 or more"),
        max_energy_j=_number("metabolic-max-energy", energy, "joules, 0 or more"),
        deadline_s=_positive("metabolic-deadline", deadline, "seconds, more than 0"),
    )


def _preference(value: bytes) -> float:
    """Read the dial: a number from 0 to 1, or a word."""
    word = _WORDS.get(value.strip().lower())
    if word is not None:
        return word
    meaning = "a number from 0 (quality) to 1 (thrift), or quality, balanced, thrift"
    number = _number("metabolic-preference", value, meaning)
    if number is None or number > 1:
        _refuse("metabolic-preference", f"must be {meaning}")
    return number


def _delivery(request: Request, value: bytes | None, default: Delivering) -> Delivering:
    """Return how the answer is to leave; a dialect that cannot take back is never asked to."""
    if value is None:
        return "auto" if default == "replace" and request.native is not None else default
    found = _DELIVERIES.get(value.strip().lower())
    if found is None:
        _refuse("metabolic-delivery", "must be auto, stream, hold, window, hedge or replace")
    if found == "replace" and (request.native is not None or request.dialect != "chat"):
        problem = "cannot be replace here: only the events of chat completions can be taken back"
        _refuse("metabolic-delivery", problem)
    return found


def _priority(value: bytes) -> int:
    """Read who goes first where calls must wait."""
    try:
        found = int(value)
    except ValueError:
        found = _HIGHEST + 1
    if abs(found) > _HIGHEST:
        _refuse("metabolic-priority", f"must be a whole number from -{_HIGHEST} to {_HIGHEST}")
    return found


def _task(value: bytes) -> str:
    """Read the client's word for the task type, or its own label of a lane."""
    text = value.strip().decode("latin-1").lower()
    if text not in _TASKS and not _LABEL.fullmatch(text):
        _refuse(
            "metabolic-task",
            f"must be one of {', '.join(TASKS)}, or a label of your own: 1 to 32 of a-z 0-9 . _ -",
        )
    return text


def _number(header: str, value: bytes | None, meaning: str) -> float | None:
    """Read a finite number that is not negative."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        _refuse(header, f"must be {meaning}")
    return number


def _positive(header: str, value: bytes | None, meaning: str) -> float | None:
    """Read a finite number above 0."""
    number = _number(header, value, meaning)
    if number == 0:
        _refuse(header, f"must be {meaning}")
    return number


def _refuse(header: str, problem: str) -> NoReturn:
    """Refuse a header. Raises ``RequestError``."""
    message = f"The header {header} {problem}."
    raise RequestError(message, param=header)
