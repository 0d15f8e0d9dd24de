"""What the gateway costs: CPU per routed request and per event, added latency, memory, start-up.

The gateway runs as users run it (``metabolic serve``), pinned to one core, over two deployments
that are one mock upstream; classification, decision, validation, metrics, log and ledger are on.
The mock and this client share another core. CPU seconds are the whole gateway process's, all
threads; the direct upstream is measured beside, in turn.
"""

__all__ = ["run"]

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from metabolic.bench.client import Load, ask, drive, request
from metabolic.bench.processes import Child, free_port, pin, spread
from metabolic.bench.report import Figure, Missing, Report, Row, progress, report

_SMALL_BYTES, _LARGE_BYTES = 200, 8192
_START_LIMIT_S = 30.0
_CONFIG = """
[server]
port = {port}
[models]
fleet = "none"
[ledger]
path = "{ledger}"
[[deployment]]
name = "mock-small"
base_url = "http://127.0.0.1:{upstream}/v1"
upstream_model = "mock"
tier = "tiny"
capabilities = ["chat", "tools", "json", "logprobs"]
input_usd_per_million_tokens = 0.1
output_usd_per_million_tokens = 0.4
[[deployment]]
name = "mock-large"
base_url = "http://127.0.0.1:{upstream}/v1"
upstream_model = "mock"
tier = "small"
capabilities = ["chat", "tools", "json", "logprobs"]
input_usd_per_million_tokens = 1.0
output_usd_per_million_tokens = 4.0
[[belief]]
deployment = "mock-small"
p_correct = 0.7
p_accept = 0.6
p_correct_accepted = 0.97
evidence = 1000
[[belief]]
deployment = "mock-large"
p_correct = 0.86
evidence = 1000
"""
_TEXT = (
    "Please read the following note and tell me in one sentence what is the sum that the two "
    "numbers in it add up to, and why. "
)


class _Case(Struct, frozen=True, kw_only=True):
    """One kind of load on one target."""

    target: str
    concurrency: int
    body_bytes: int
    stream: bool = False
    model: str = "auto"
    headers: str = ""

    def raw(self) -> bytes:
        """Return the request's bytes."""
        return request(_body(self.body_bytes, self.model, stream=self.stream), headers=self.headers)


class _Run(Struct, frozen=True, kw_only=True):
    """One window of load: what came back, and the gateway's CPU seconds in it."""

    load: Load
    cpu_s: float | None


_DIRECT = "direct"
_FLOOR = "bare uvicorn"
_STREAM = "metabolic-delivery: stream\r\n"
_HOLD = "metabolic-delivery: hold\r\n"
_CASES = (
    _Case(target="gateway", concurrency=1, body_bytes=_SMALL_BYTES),
    _Case(target=_DIRECT, concurrency=1, body_bytes=_SMALL_BYTES),
    _Case(target="gateway", concurrency=16, body_bytes=_SMALL_BYTES),
    _Case(target=_DIRECT, concurrency=16, body_bytes=_SMALL_BYTES),
    _Case(target=_FLOOR, concurrency=16, body_bytes=_SMALL_BYTES),
    _Case(target="gateway", concurrency=16, body_bytes=_LARGE_BYTES),
    _Case(target="gateway", concurrency=64, body_bytes=_SMALL_BYTES),
    _Case(target=_DIRECT, concurrency=64, body_bytes=_SMALL_BYTES),
    _Case(target="gateway pinned", concurrency=16, body_bytes=_SMALL_BYTES, model="mock-small"),
    _Case(
        target="gateway stream",
        concurrency=16,
        body_bytes=_SMALL_BYTES,
        stream=True,
        headers=_STREAM,
    ),
    _Case(
        target="gateway held stream",
        concurrency=16,
        body_bytes=_SMALL_BYTES,
        stream=True,
        headers=_HOLD,
    ),
    _Case(target="direct stream", concurrency=16, body_bytes=_SMALL_BYTES, stream=True),
)


def run(*, seed: int = 0, quick: bool = False) -> Report:
    """Measure, and say what it was; ``quick`` takes fewer and shorter windows.

    ``seed`` changes nothing here: the load is always the same.

    Raises:
        RuntimeError: the gateway or the upstream did not start.
    """
    import uvloop  # noqa: PLC0415 - only this bench needs it

    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="metabolic-bench-") as folder:
        bench = _Bench(Path(folder), windows=2 if quick else 7, seconds=0.4 if quick else 2.0)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bench.measure())
    return report(
        "gateway",
        seed=seed,
        seconds=time.monotonic() - began_s,
        quick=quick,
        notes=bench.notes,
        figures=bench.figures,
        rows=bench.rows,
        missing=bench.missing,
    )


class _Bench:
    """One benchmark under way."""

    def __init__(self, folder: Path, *, windows: int, seconds: float) -> None:
        self._folder, self._windows, self._seconds = folder, windows, seconds
        self._runs: dict[_Case, list[_Run]] = {case: [] for case in _CASES}
        self._targets: dict[str, tuple[Child | None, int]] = {}
        self.figures: dict[str, Figure] = {}
        self.rows: list[Row] = []
        self.missing: list[Missing] = []
        self.notes: list[str] = [
            "low and high are the smallest and largest window; value is the median",
            "gateway and upstream in Python, one core each; the client shares the upstream's",
            "bare uvicorn: the HTTP server alone, for scale on this machine",
        ]

    async def measure(self) -> None:
        """Start everything, load it, and work the figures out."""
        mine, other = spread()
        pin(0, other)
        if mine is None:
            self.notes.append("fewer than two cores: gateway, upstream and client share them")
        log = self._folder / "upstream.log"
        with Child("metabolic.bench.mock", core=other, log=log) as upstream:
            port = int(upstream.line())
            starts = [await self._start_once(port, mine) for _ in range(3)]
            gateway, gateway_port, start_s = self._spawn(port, mine)
            floor_port, floor_log = free_port(), self._folder / "floor.log"
            with (
                gateway,
                Child("metabolic.bench.floor", str(floor_port), core=mine, log=floor_log) as floor,
            ):
                starts.append(await _up(gateway, gateway_port, start_s))
                await _up(floor, floor_port, time.perf_counter())
                self._targets = {
                    _DIRECT: (None, port),
                    _FLOOR: (floor, floor_port),
                    "gateway": (gateway, gateway_port),
                }
                await self._load(gateway)
        self._put("startup_s", starts, "s", len(starts))
        self._work_out()

    def _spawn(self, upstream: int, core: int | None) -> tuple[Child, int, float]:
        """Start a gateway; return it, its port, and when it was started."""
        port = free_port()
        path = self._folder / f"{port}.toml"
        ledger = self._folder / f"{port}.sqlite"
        path.write_text(_CONFIG.format(port=port, upstream=upstream, ledger=ledger))
        began_s = time.perf_counter()
        log = self._folder / f"{port}.log"
        child = Child("metabolic", "serve", "--config", str(path), core=core, log=log)
        return child, port, began_s

    async def _start_once(self, upstream: int, core: int | None) -> float:
        """Return the seconds from the process's start to the first readiness."""
        child, port, began_s = self._spawn(upstream, core)
        with child:
            return await _up(child, port, began_s)

    async def _load(self, gateway: Child) -> None:
        """Visit every case in turn, ``windows`` times; the first visit warms up."""
        idle = gateway.rss_bytes()
        for window in range(self._windows + 1):
            progress(f"window {window} of {self._windows}" if window else "warming up")
            for case in _CASES:
                run = await self._window(case, self._seconds if window else self._seconds / 4)
                if window:
                    self._runs[case].append(run)
        self._put("rss_idle_mb", [idle / 1e6], "MB", 1)
        self._put("rss_after_mb", [gateway.rss_bytes() / 1e6], "MB", 1)

    async def _window(self, case: _Case, seconds: float) -> _Run:
        """Load one target for a while."""
        child, port = next(
            target for name, target in self._targets.items() if case.target.startswith(name)
        )
        before_s = child.cpu_s() if child else 0.0
        load = await drive(port, case.raw(), concurrency=case.concurrency, seconds=seconds)
        return _Run(load=load, cpu_s=child.cpu_s() - before_s if child else None)

    def _work_out(self) -> None:
        """Turn windows into figures and rows."""
        self._cpu("cpu_us_per_request_c16", _find("gateway", 16))
        self._cpu("cpu_us_per_request_c16_8kb", _find("gateway", 16, _LARGE_BYTES))
        stream = _find("gateway stream", 16)
        self._put(
            "cpu_us_per_event",
            [1e6 * (one.cpu_s or 0.0) / max(1, one.load.events) for one in self._runs[stream]],
            "us",
            sum(one.load.events for one in self._runs[stream]),
        )
        pairs = zip(self._runs[_find("gateway", 1)], self._runs[_find(_DIRECT, 1)], strict=True)
        added = [1e3 * (a.load.quantile_s(0.5) - b.load.quantile_s(0.5)) for a, b in pairs]
        self._put("added_p50_ms_c1", added, "ms", len(added))
        busy = self._runs[_find("gateway", 64)]
        self._put("p99_ms_c64", [1e3 * one.load.quantile_s(0.99) for one in busy], "ms", len(busy))
        for case, runs in self._runs.items():
            self.rows.append(_row(case, runs))
            errors = sum(one.load.errors for one in runs)
            if errors:
                self.notes.append(f"{case.target} c{case.concurrency}: {errors} failed requests")

    def _cpu(self, name: str, case: _Case) -> None:
        """Put CPU microseconds per request."""
        runs = self._runs[case]
        values = [1e6 * (one.cpu_s or 0.0) / max(1, one.load.requests) for one in runs]
        self._put(name, values, "us", sum(one.load.requests for one in runs))

    def _put(self, name: str, values: Sequence[float], unit: str, n: int) -> None:
        """Put a figure: the median, with the smallest and the largest."""
        self.figures[name] = Figure(
            value=statistics.median(values),
            unit=unit,
            n=n,
            low=min(values),
            high=max(values),
            unit_note="low and high are min and max",
        )


async def _up(child: Child, port: int, began_s: float) -> float:
    """Wait until the gateway is ready; return the seconds since ``began_s``."""
    while time.perf_counter() - began_s < _START_LIMIT_S and child.alive():
        try:
            if await ask(port, "/ready") == 200:  # noqa: PLR2004
                return time.perf_counter() - began_s
        except OSError:
            pass
        await asyncio.sleep(0.005)
    message = f"the gateway did not become ready: {child.last_words()}"
    raise RuntimeError(message)


def _find(target: str, concurrency: int, body_bytes: int = _SMALL_BYTES) -> _Case:
    """Return the case of a figure."""
    wanted = (target, concurrency, body_bytes)
    return next(c for c in _CASES if (c.target, c.concurrency, c.body_bytes) == wanted)


def _row(case: _Case, runs: Sequence[_Run]) -> Row:
    """Return one line of the table: medians over the windows."""
    loads = [one.load for one in runs]
    requests = sum(load.requests for load in loads)
    cpu = [1e6 * one.cpu_s / one.load.requests for one in runs if one.cpu_s and one.load.requests]
    return {
        "target": case.target,
        "concurrency": case.concurrency,
        "body_bytes": case.body_bytes,
        "rps": statistics.median(load.requests / load.seconds for load in loads),
        "cpu_us": statistics.median(cpu) if cpu else None,
        "p50_ms": statistics.median(1e3 * load.quantile_s(0.5) for load in loads),
        "p99_ms": statistics.median(1e3 * load.quantile_s(0.99) for load in loads),
        "events_per_s": statistics.median(load.events / load.seconds for load in loads),
        "requests": requests,
    }


def _body(size: int, model: str, *, stream: bool) -> bytes:
    """Return a chat request of exactly ``size`` bytes."""

    def made(text: str) -> bytes:
        ask: dict[str, object] = {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 64,
        }
        return msgspec.json.encode(ask | {"stream": True} if stream else ask)

    room = size - len(made(""))
    return made((_TEXT * (room // len(_TEXT) + 1))[:room])
