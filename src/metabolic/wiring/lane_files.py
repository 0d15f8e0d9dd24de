"""The files of the table of lanes, all beside the ledger.

``NAME.lanes.json`` is the state, replaced whole; ``NAME.pins.json`` what ``metabolic lanes --pin``
wrote, read again every epoch; ``NAME.labels.jsonl`` one line a label, as ``metabolic calibrate
--from-records`` reads them. A ledger that keeps nothing keeps nothing of these either. The file
of labels is only ever appended to, by the gateway and by ``metabolic lanes --anchor``; the state
says how much of it has been counted.
"""

__all__ = ["LaneFiles"]

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from metabolic.config import Config
from metabolic.core.labels import Label
from metabolic.core.lanes import LanePin
from metabolic.execute.lane_state import LaneState, Peer
from metabolic.wiring.meters import Memory

_REMEMBERED = 100_000

_Value = TypeVar("_Value")

_encode = msgspec.json.encode
_label = msgspec.json.Decoder(Label)


class LaneFiles:
    """Where state, pins and labels of a configuration's ledger lie."""

    def __init__(self, config: Config) -> None:
        """Choose the files, beside what the meters learned."""
        self._learned = Memory(config).path
        self._share = None if config.lanes.share is None else Path(config.lanes.share).expanduser()

    def _path(self, suffix: str) -> Path | None:
        """Return one file's path; ``None``: nothing is kept."""
        if self._learned is None:
            return None
        stem = self._learned.name.removesuffix("learned.json")
        return self._learned.with_name(f"{stem}{suffix}")

    @property
    def labels(self) -> Path | None:
        """The file of labels."""
        return self._path("labels.jsonl")

    def state(self) -> LaneState:
        """Return what was kept; an empty state where nothing can be read."""
        return _read(self._path("lanes.json"), LaneState) or LaneState()

    def save(self, state: LaneState) -> bool:
        """Keep the state; return whether that was possible."""
        return _replace(self._path("lanes.json"), _encode(state))

    def pins(self) -> tuple[LanePin, ...]:
        """Return the pins that the command wrote."""
        return _read(self._path("pins.json"), tuple[LanePin, ...]) or ()

    def pin(self, pins: tuple[LanePin, ...]) -> bool:
        """Keep these pins; return whether that was possible."""
        return _replace(self._path("pins.json"), _encode(pins))

    def append(self, labels: Iterable[Label]) -> None:
        """Add labels, one line each. Raises ``OSError``."""
        path = self.labels
        if path is None:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(b"".join(_encode(one) + b"\n" for one in labels))

    def labelled(self) -> list[str]:
        """Return the names of labels so far, latest last; bounded."""
        try:
            lines = [] if self.labels is None else self.labels.read_bytes().splitlines()
        except OSError:
            return []
        return [one.name for one in _labels(lines[-_REMEMBERED:])]

    def labels_since(self, offset: int) -> tuple[list[Label], int]:
        """Return the labels of whole lines after ``offset`` bytes, and where the last one ends.

        A file that has become shorter has been tidied up: what is left of it was counted before.
        """
        try:
            if self.labels is None:
                return [], 0
            with self.labels.open("rb") as file:
                size = file.seek(0, 2)
                if size < offset:
                    return [], size
                file.seek(offset)
                found = file.read()
        except OSError:
            return [], offset
        whole = found[: found.rfind(b"\n") + 1]
        return _labels(whole.splitlines()), offset + len(whole)

    def peers(self) -> tuple[Peer, ...]:
        """Return what the gateways that share a folder have counted; unreadable files are none."""
        if self._share is None:
            return ()
        found = (_read(path, Peer) for path in sorted(self._share.glob("*.lanes.json")))
        return tuple(one for one in found if one is not None)

    def share(self, peer: Peer) -> bool:
        """Let the others know what this gateway has counted; return whether that was possible."""
        if self._share is None:
            return False
        return _replace(self._share / f"{peer.replica}.lanes.json", _encode(peer))


def _labels(lines: Iterable[bytes]) -> list[Label]:
    """Return the labels of lines; a torn line labels nothing."""
    found: list[Label] = []
    for line in lines:
        try:
            found.append(_label.decode(line))
        except msgspec.MsgspecError:
            continue
    return found


def _read(path: Path | None, kind: type[_Value]) -> _Value | None:
    """Return a file's value; ``None`` where there is none that can be read."""
    if path is None:
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def _replace(path: Path | None, content: bytes) -> bool:
    """Replace a file whole; return whether that was possible."""
    if path is None:
        return False
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.write_bytes(content)
        new.replace(path)
    except OSError:
        return False
    return True
