"""Whom the benchmark of speculation asks: real llama.cpp servers, or a simulation of them.

An *arm* is one way to start a model: without speculation, with n-grams of the text so far, or with
a draft model. Every arm of a target is a server of its own with one thread and one slot.
"""

__all__ = ["Arm", "Said", "Server", "Simulated", "open_arm", "plan", "simulated_paths"]

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import msgspec
import psutil
from msgspec import Struct
from msgspec.structs import replace

from metabolic import plugins
from metabolic.bench.speculation_prompts import Kind
from metabolic.core.attempt import Call
from metabolic.core.errors import EngineError
from metabolic.core.fleet import LaunchSpec
from metabolic.core.ports import Backend
from metabolic.core.request import Message, Request, Sampling, Text
from metabolic.core.speculation import Drafts, Launch

_CONTEXT_TOKENS = 2048
_NGRAM_TOKENS, _NGRAM_MATCH = 16, 12
_DRAFT_TOKENS = 3
_SETTLE_S = 0.02


class Arm(Struct, frozen=True, kw_only=True):
    """One way to start one target; ``path`` is its model file, ``parameters`` its size."""

    target: str
    name: str
    path: str
    parameters: int
    launch: Launch | None = None
    draft_parameters: int | None = None


class Said(Struct, frozen=True, kw_only=True):
    """One answer: its text, tokens, CPU seconds and what was drafted."""

    text: str
    tokens: int
    cpu_s: float
    drafts: Drafts


class Server(Protocol):
    """One arm that can be asked."""

    async def ask(self, kind: Kind, prompt: str, *, most_tokens: int) -> Said:
        """Return the greedy answer."""
        ...


def plan(
    paths: Mapping[str, tuple[str, int]], targets: tuple[str, ...], drafts: Mapping[str, str]
) -> tuple[Arm, ...]:
    """Return the arms of the targets whose files are here: off, n-gram and, with one, draft.

    ``paths`` are file and parameters by model, ``drafts`` the draft model of each target.
    """
    ngram = Launch(method="ngram", num_speculative_tokens=_NGRAM_TOKENS, match_tokens=_NGRAM_MATCH)
    arms: list[Arm] = []
    for target in targets:
        if target not in paths:
            continue
        path, parameters = paths[target]
        off = Arm(target=target, name="off", path=path, parameters=parameters)
        arms += [off, replace(off, name="ngram", launch=ngram)]
        draft = paths.get(drafts.get(target, ""))
        if draft is not None:
            launch = Launch(
                method="draft", num_speculative_tokens=_DRAFT_TOKENS, draft_path=draft[0]
            )
            arms.append(replace(off, name="draft", launch=launch, draft_parameters=draft[1]))
    return tuple(arms)


async def open_arm(arm: Arm, stack: AsyncExitStack) -> Server:
    """Start an arm's server; it stops with ``stack``. Raises ``EngineError``: it does not start."""
    spec = LaunchSpec(
        deployment=f"{arm.target}-{arm.name}",
        model_path=arm.path,
        context_tokens=_CONTEXT_TOKENS,
        speculation=arm.launch,
    )
    engine = plugins.engine("llamacpp", spec=spec)
    stack.push_async_callback(engine.stop)
    endpoint = await engine.start()
    if endpoint.pid is None:
        message = f"{arm.target}: the process of its server is not known"
        raise EngineError(message)
    backend = plugins.backend(endpoint.backend, endpoint=endpoint)
    stack.push_async_callback(backend.aclose)
    return _Real(backend, endpoint.pid)


class _Real:
    """A llama.cpp server."""

    def __init__(self, backend: Backend, pid: int) -> None:
        self._backend, self._pid = backend, pid

    async def ask(self, kind: Kind, prompt: str, *, most_tokens: int) -> Said:
        """Return the greedy answer; the prompt's part that is in the cache is not read again."""
        body = {
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": most_tokens,
            "temperature": 0,
            "seed": 1,
            "cache_prompt": True,
        }
        request = Request(
            id="bench",
            dialect="chat",
            model=kind.name,
            messages=(Message(role="user", content=(Text(text=prompt),)),),
            sampling=Sampling(temperature=0.0, max_output_tokens=most_tokens),
            body=msgspec.json.encode(body),
        )
        before_s = _cpu_s(self._pid)
        reply = await self._backend.complete(request, Call(id="c0", stage=0, deployment="bench"))
        await asyncio.sleep(_SETTLE_S)  # its threads go to rest
        return Said(
            text=reply.choices[0].text,
            tokens=reply.usage.output_tokens or 0,
            cpu_s=_cpu_s(self._pid) - before_s,
            drafts=reply.drafts or Drafts(drafted_tokens=0, accepted_tokens=0),
        )


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far, all threads, to the nanosecond if possible."""
    total_ns = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total_ns += int((task / "schedstat").read_bytes().split()[0])
    except (OSError, ValueError, IndexError):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    return total_ns / 1e9


class Simulated:
    """A server of made-up costs, for a machine without models: the same every time.

    A step costs a constant and each token it verifies or drafts a share; a kind of prompt has a
    chance that a drafted token is right.
    """

    _COPIED: Mapping[str, float] = {"code_edit": 0.9, "rag_quote": 0.6, "extraction": 0.2}

    def __init__(self, arm: Arm) -> None:
        """Take the arm; nothing runs."""
        self._arm = arm
        self._step_s = arm.parameters / 1e9 * 0.08

    async def ask(self, kind: Kind, prompt: str, *, most_tokens: int) -> Said:
        """Return an answer of its full length."""
        launch, tokens = self._arm.launch, most_tokens
        if launch is None:
            drafted = accepted = 0
            each = 0.0
        elif launch.method == "ngram":
            accepted = int(tokens * self._COPIED.get(kind.name, 0.0) * 0.9)
            drafted, each = int(accepted * 1.1), 0.45
        else:
            alpha = 0.95 if kind.name == "code_edit" else 0.7
            kept = sum(alpha**position for position in range(1, 4))
            steps = max(1, round(tokens / (1 + kept)))
            drafted, accepted = 3 * steps, tokens - steps
            each = 0.9 + (self._arm.draft_parameters or 0) / self._arm.parameters
        seconds = self._step_s * (tokens - accepted + each * drafted)
        wobble = 1.0 + 0.01 * (len(prompt) % 3 - 1)
        return Said(
            text=f"{kind.name} {len(prompt)}",
            tokens=tokens,
            cpu_s=seconds * wobble,
            drafts=Drafts(drafted_tokens=drafted, accepted_tokens=accepted),
        )


def simulated_paths(targets: tuple[str, ...]) -> dict[str, tuple[str, int]]:
    """Return files that are not there for models that are simulated."""
    sizes = (500_000_000, 1_500_000_000)
    return {
        name: (str(Path("simulated") / name), size)
        for name, size in zip(targets, sizes, strict=False)
    }
