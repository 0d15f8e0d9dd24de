"""Every arm's answer to every prompt, kept in a file, so that an interrupted run goes on."""

__all__ = ["Asker", "Book"]

from collections.abc import Sequence
from contextlib import AsyncExitStack
from hashlib import blake2b
from pathlib import Path

import msgspec
from msgspec import Struct

from metabolic.bench.report import progress
from metabolic.bench.speculation_engines import Arm, Said, Server, Simulated, open_arm
from metabolic.bench.speculation_prompts import Kind

_Key = tuple[str, str, str, int]


class _Line(Struct, frozen=True, kw_only=True):
    """One answer of the file: who gave it, to which prompt (a digest), in which repetition."""

    target: str
    arm: str
    prompt: str
    turn: int
    said: Said


class Book:
    """The answers there are."""

    def __init__(self, path: Path | None) -> None:
        """Read what is in the file; ``None`` keeps nothing."""
        self._path = path
        self._said: dict[_Key, Said] = {}
        if path is not None and path.exists():
            for line in path.read_bytes().splitlines():
                one = msgspec.json.decode(line, type=_Line)
                self._said[one.target, one.arm, one.prompt, one.turn] = one.said

    def get(self, arm: Arm, prompt: str, turn: int) -> Said | None:
        """Return an answer that is there."""
        return self._said.get((arm.target, arm.name, _digest(prompt), turn))

    def add(self, arm: Arm, prompt: str, turn: int, said: Said) -> None:
        """Enter an answer."""
        line = _Line(target=arm.target, arm=arm.name, prompt=_digest(prompt), turn=turn, said=said)
        self._said[line.target, line.arm, line.prompt, line.turn] = said
        if self._path is not None:
            with self._path.open("ab") as out:
                out.write(msgspec.json.encode(line) + b"\n")


class Asker:
    """The servers of one target, started when something is to be asked of them."""

    def __init__(
        self, arms: Sequence[Arm], book: Book, stack: AsyncExitStack, *, simulated: bool
    ) -> None:
        """Take the arms; ``stack`` stops what is started."""
        self._arms, self._book, self._stack = tuple(arms), book, stack
        self._simulated = simulated
        self._servers: dict[str, Server] = {}
        self._warm = ""

    async def ask(
        self, kind: Kind, prompt: str, *, most_tokens: int, turn: int = 0
    ) -> dict[str, Said]:
        """Return every arm's answer, asked beginning with another each turn.

        Raises:
            EngineError: a server does not start.
        """
        found: dict[str, Said] = {}
        for arm in self._arms:
            kept = self._book.get(arm, prompt, turn)
            if kept is not None:
                found[arm.name] = kept
        if len(found) == len(self._arms):
            return found
        servers = await self._started()
        if self._warm != prompt:
            self._warm = prompt
            for server in servers.values():
                await server.ask(kind, prompt, most_tokens=1)
        start = turn % len(self._arms)
        for arm in (*self._arms[start:], *self._arms[:start]):
            said = await servers[arm.name].ask(kind, prompt, most_tokens=most_tokens)
            self._book.add(arm, prompt, turn, said)
            found[arm.name] = said
        return {arm.name: found[arm.name] for arm in self._arms}

    async def _started(self) -> dict[str, Server]:
        """Return the servers by arm, all running."""
        for arm in self._arms:
            if arm.name not in self._servers:
                progress(f"{arm.target}: starting {arm.name}")
                self._servers[arm.name] = (
                    Simulated(arm) if self._simulated else await open_arm(arm, self._stack)
                )
        return self._servers


def _digest(prompt: str) -> str:
    """Return a short name of a prompt."""
    return blake2b(prompt.encode(), digest_size=8).hexdigest()
