"""A local model in a llama.cpp server process of its own, through the ``xllamacpp`` wheel.

The server listens on a free loopback port, wants a random key, and is gone when the gateway is.
Sleeping ends the process: that frees all of its memory, and waking is a start like any other.
"""

__all__ = ["LlamaCpp", "Options", "create"]

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Mapping

from msgspec import Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint, LaunchSpec, State
from metabolic.core.speculation import Launch
from metabolic.engines.process import ServerProcess, healthy
from metabolic.engines.shared import Shared

_PASSED_ON = (
    "PATH", "HOME", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL", "SYSTEMROOT", "VIRTUAL_ENV",
    "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
)  # fmt: skip
_PASSED_ON_PREFIXES = ("GGML_", "CUDA_", "HIP_", "ROCR_", "HSA_", "OMP_", "VK_", "PYTHON")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How llama.cpp runs, whatever the model.

    ``prompt_cache_bytes`` is memory for prompts of conversations that have no slot now.
    ``repack`` copies weights into the CPU's own layout: faster prompts, more memory, a longer
    load. ``grace_s`` is how long a server may take to end by itself. Every ``pulse_s`` it is asked
    for its health and has as long again to answer; ``missed_pulses`` in a row, and it hangs: it is
    killed, and so comes back.
    """

    prompt_cache_bytes: int = 128 * 1024 * 1024
    repack: bool = True
    grace_s: float = 3.0
    pulse_s: float = 5.0
    missed_pulses: int = 3


def create(options: Options, *, spec: LaunchSpec) -> "LlamaCpp":
    """Return an engine that can serve ``spec``; nothing is started."""
    return LlamaCpp(options, spec)


class LlamaCpp:
    """One model, one process."""

    def __init__(
        self, options: Options, spec: LaunchSpec, *, program: tuple[str, ...] | None = None
    ) -> None:
        """Keep the launch; ``program`` replaces the server (it gets the same arguments)."""
        self.deployment = spec.deployment
        self.spec = spec
        self._options = options
        self._program = program or (
            sys.executable, "-P", "-m", "metabolic.engines.llamacpp_server",
        )  # fmt: skip
        self._state: State = "stopped"
        self._process: ServerProcess | None = None
        self._endpoint: Endpoint | None = None
        self._shared: Shared[Endpoint] = Shared()
        self._down = asyncio.Event()
        self._turn = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self.load_s: float | None = None
        self.reason: str | None = None

    @property
    def state(self) -> State:
        """Return where it stands; ``failed`` as soon as the process is seen to be gone."""
        if self._state == "warm" and (self._process is None or not self._process.alive):
            return "failed"
        return self._state

    @property
    def endpoint(self) -> Endpoint | None:
        """Return where it listens; ``None`` unless warm."""
        return self._endpoint if self.state == "warm" else None

    @property
    def pid(self) -> int | None:
        """Return the process id; ``None`` when there is no process."""
        return self._process.pid if self._process is not None and self._process.alive else None

    async def start(self) -> Endpoint:
        """Start or wake it, and return where it listens once it is healthy.

        ``load_s`` is then how long that took.

        Raises:
            EngineError: it did not come up; the message has the last lines of its log.
        """
        endpoint = self.endpoint
        return endpoint if endpoint is not None else await self._shared.run(self._start)

    async def sleep(self) -> None:
        """End the process, which frees its memory; ``start`` wakes it."""
        await self._end("asleep")

    async def stop(self) -> None:
        """End the process for good."""
        await self._end("stopped")

    async def ended(self) -> None:
        """Return when a warm engine is not warm any more; ``reason`` then says why, if it died."""
        await self._down.wait()

    async def _start(self) -> Endpoint:
        """Start it, after whatever is ending has ended."""
        async with self._turn:
            return self.endpoint or await self._launch()

    async def _launch(self) -> Endpoint:
        """Start the process, wait for it, and watch it from then on."""
        began_s = time.monotonic()
        self._state, self.reason = "starting", None
        key = secrets.token_urlsafe(32)
        process: ServerProcess | None = None
        try:
            process = await ServerProcess.spawn(
                self._command(), environment=_environment(os.environ), key=key
            )
            self._process = process
            async with asyncio.timeout(self.spec.start_timeout_s):
                url = await process.url()
        except (EngineError, TimeoutError) as exc:
            raise EngineError(await self._failed(process, exc)) from exc
        except asyncio.CancelledError:
            self._state = "stopped"
            if process is not None:
                await process.stop(grace_s=0.0)
            raise
        self.load_s = time.monotonic() - began_s
        return self._warm(process, url, key)

    def _warm(self, process: ServerProcess, url: str, key: str) -> Endpoint:
        """Note that it serves, and watch it."""
        endpoint = Endpoint(
            deployment=self.deployment,
            base_url=f"{url}/v1",
            model=self.deployment,
            api_key=key,
            pid=process.pid,
            engine="llamacpp",
        )
        self._endpoint, self._state, self._down = endpoint, "warm", asyncio.Event()
        self._watching = asyncio.create_task(self._watch(process, url))
        return endpoint

    async def _failed(self, process: ServerProcess | None, why: Exception) -> str:
        """Clean up after a start that failed; return the reason."""
        log = ""
        if process is not None:
            await process.stop(grace_s=0.0)
            log = f"; its log ends:\n{process.log}" if process.log else ""
        self._state = "failed"
        if isinstance(why, TimeoutError):
            reason = f"it was not ready after {self.spec.start_timeout_s:.0f} s{log}"
        else:
            reason = str(why)
        self.reason = f"{self.deployment} did not start: {reason}"
        return self.reason

    async def _watch(self, process: ServerProcess, url: str) -> None:
        """Note when a serving process dies by itself, or hangs."""
        pulse = asyncio.create_task(self._pulse(process, url))
        try:
            how = await process.ended()
        finally:
            hung = pulse.done()
            pulse.cancel()
        if hung:
            how = f"did not answer {self._options.missed_pulses} health checks and was killed"
        tail = f"; its log ends:\n{process.log}" if process.log else ""
        self.reason = f"{self.deployment} {how}{tail}"
        self._state = "failed"
        self._down.set()
        await process.stop(grace_s=0.0)

    async def _pulse(self, process: ServerProcess, url: str) -> None:
        """Kill a process that lives and does not answer; return only then."""
        missed = 0
        while missed < self._options.missed_pulses:
            await asyncio.sleep(self._options.pulse_s)
            answers = await healthy(url, timeout_s=self._options.pulse_s)
            missed = 0 if answers else missed + 1
        process.kill()

    async def _end(self, state: State) -> None:
        """End whatever runs, and stand at ``state``."""
        await self._shared.cancel()
        async with self._turn:
            if self._watching is not None:
                self._watching.cancel()
                await asyncio.wait({self._watching})
                self._watching = None
            self._state, self._endpoint = state, None
            self._down.set()
            if self._process is not None:
                await self._process.stop(grace_s=self._options.grace_s)
                self._process = None

    def _command(self) -> list[str]:
        """Return the child's command line; nothing in it is secret."""
        spec, options = self.spec, self._options
        command = [
            *self._program,
            *("--model", spec.model_path),
            *("--alias", spec.deployment),
            *("--parent", str(os.getpid())),
            *("--context", str(spec.context_tokens)),
            *("--slots", str(spec.slots)),
            *("--threads", str(spec.threads)),
            *("--prompt-cache-bytes", str(options.prompt_cache_bytes)),
        ]
        if not options.repack:
            command.append("--no-repack")
        if spec.embeddings:
            command.append("--embeddings")
        if spec.speculation is not None:
            command.extend(_drafting(spec.speculation))
        return command


def _drafting(launch: Launch) -> list[str]:
    """Return what the child is told of drafting."""
    told = [
        *("--draft", launch.method),
        *("--draft-tokens", str(launch.num_speculative_tokens)),
        *("--draft-match", str(launch.match_tokens)),
    ]
    return told if launch.draft_path is None else [*told, "--draft-model", launch.draft_path]


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return what the child may see: no keys of ours; OpenMP threads that sleep while they wait.

    Spinning threads of several engines on few cores cost 20 times the CPU.
    """
    kept = {
        name: value
        for name, value in ours.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    return {**kept, "OMP_WAIT_POLICY": "passive"}
