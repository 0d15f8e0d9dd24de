"""What becomes of an answer when its deployment fails: faults by name, each in several ways.

The gateway runs as users run it, over a fake upstream that commits the fault its model is named
for. Every fault is met whole, as a held stream and as a stream passed on, once with a healthy
replica that can go on with its answers, and once alone, where nobody can. The healthy answer is a
known text, so that a truncated one cannot pass:

    pass    the whole known text, ended as it should be
    safe    an error the client can see: a status, or an error event without ``[DONE]``
    fail    anything else: a truncated answer that looks whole, a hang, two answers in one

Then what no model's name can say: clients that leave (is the upstream cancelled, and how soon),
an upstream stopped with SIGSTOP (its connections stay half-open), and the real llama.cpp engine
killed with SIGKILL and stopped with SIGSTOP under load.
"""

__all__ = ["FAULTS", "MODES", "Answer", "run", "verdict"]

import asyncio
import tempfile
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from metabolic.bench.outages import Outages
from metabolic.bench.processes import Child, free_port
from metabolic.bench.report import Figure, Missing, Report, Row, progress, quantile, report
from metabolic.bench.upstreams import MODES, Answer, Gateway, asked, verdict

FAULTS = (
    "429", "503-x1", "500-once", "503", "reset", "stall", "late20000", "cut40", "cut60",
    "stall20", "malformed", "no-done", "400-context", "content-filter", "400", "503-x3",
    "drip", "cut-body", "garbage", "html", "no-finish", "resetat10", "error-event", "until-reset",
)  # fmt: skip
"""The 16 of the public catalogue (429 with and without Retry-After, 500 once, 503 for ever, reset,
no answer, a first token after 20 s, cut after 40 and 60 events, a stall, a malformed chunk, no
``[DONE]``, too long a context, a content filter, a refused prefill, a flapping upstream), and
further ones. That failed attempts are billed is checked on each. Source: failoverbench."""

_QUICK = ("429", "500-once", "reset", "cut40", "no-done", "400-context", "malformed", "drip")
_LEAVES, _QUICK_LEAVES = 100, 10
_LEFT_WITHIN_S = 0.1
_SLOW = "slow:50"


class _Case(Struct, frozen=True, kw_only=True):
    """One fault, met one way, with or without a sibling; ``name`` is unique."""

    fault: str
    mode: str
    alone: bool

    @property
    def name(self) -> str:
        """Return the name of its deployment."""
        return f"{self.fault}.{self.mode}.{'alone' if self.alone else 'sibling'}"


def run(*, seed: int = 0, quick: bool = False) -> Report:
    """Commit every fault and say what became of the answer; ``seed`` changes nothing here.

    Raises:
        RuntimeError: the gateway or the upstream did not start.
    """
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="metabolic-bench-") as folder:
        bench = _Bench(Path(folder), quick=quick)
        asyncio.run(bench.measure())
    return report(
        "failover",
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

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self._folder, self._quick = folder, quick
        self._cases = tuple(
            _Case(fault=fault, mode=mode, alone=alone)
            for fault in (_QUICK if quick else FAULTS)
            for mode in MODES
            for alone in (False, True)
        )
        self.figures: dict[str, Figure] = {}
        self.rows: list[Row] = []
        self.missing: list[Missing] = []
        self.notes: list[str] = [
            "timeouts are short here: 2 s to the first token, 1.5 s between tokens, 6 s in all",
            "pass: the whole answer; safe: an error the client can see; fail: anything else",
        ]

    async def measure(self) -> None:
        """Meet every fault, leave, and stop what can be stopped."""
        logs = [self._folder / name for name in ("upstream.log", "well.log")]
        with (
            Child("metabolic.testing.fakeserver", core=None, log=logs[0]) as upstream,
            Child("metabolic.testing.fakeserver", "--well", core=None, log=logs[1]) as well,
        ):
            base_url = upstream.line()
            config = _config(self._cases, base_url, well=well.line())
            async with Gateway(self._folder, config) as gateway:
                await self._faults(gateway)
                await self._leaves(gateway, base_url)
        outages = Outages(self._folder, quick=self._quick)
        self.rows.extend(await outages.measure())
        self.missing.extend(outages.missing)
        self._count()

    async def _faults(self, gateway: Gateway) -> None:
        """Meet the faults, a few at a time."""
        for start in range(0, len(self._cases), 8):
            some = self._cases[start : start + 8]
            progress(f"{start} of {len(self._cases)} faults")
            answers = await asyncio.gather(
                *(gateway.ask(f"v-{case.name}", mode=case.mode) for case in some)
            )
            for case, answer in zip(some, answers, strict=True):
                self.rows.append(
                    {
                        "fault": case.fault,
                        "engine": "fake",
                        "mode": case.mode,
                        "sibling": not case.alone,
                        "verdict": verdict(answer),
                        "status": answer.status,
                        "seconds": round(answer.seconds, 3),
                        "attempts_billed": await gateway.billed(answer.id),
                    }
                )

    async def _leaves(self, gateway: Gateway, base_url: str) -> None:
        """Leave in the middle of answers, and see when the upstream is told."""
        count = _QUICK_LEAVES if self._quick else _LEAVES
        waits: list[float] = []
        for number in range(count):
            at_s = await gateway.leave("slow", stream=number % 2 == 0)
            seen_s = await _gone(base_url, number + 1)
            if seen_s is not None:
                waits.append(seen_s - at_s)
            self.rows.append(
                {
                    "fault": "client leaves",
                    "engine": "fake",
                    "mode": "stream" if number % 2 == 0 else "whole",
                    "verdict": "pass" if seen_s and seen_s - at_s <= _LEFT_WITHIN_S else "fail",
                    "seconds": None if seen_s is None else round(seen_s - at_s, 4),
                }
            )
        worst = quantile(waits, 0.99)
        if worst is not None:
            self.figures["cancel_ms_p99"] = Figure(
                value=1e3 * worst,
                unit="ms",
                n=len(waits),
                low=1e3 * min(waits),
                high=1e3 * max(waits),
                unit_note="low and high are min and max",
            )

    def _count(self) -> None:
        """Count the verdicts."""
        verdicts = [str(row["verdict"]) for row in self.rows]
        for figure, word in (("passed", "pass"), ("safe", "safe"), ("failed", "fail")):
            self.figures[figure] = Figure(
                value=float(verdicts.count(word)), unit="cases", n=len(verdicts)
            )
        self.figures["tried"] = Figure(value=float(len(verdicts)), unit="cases", n=len(verdicts))
        errors = [row for row in self.rows if row["verdict"] == "fail"]
        self.notes.extend(f"fail: {msgspec.json.encode(row).decode()}" for row in errors)


async def _gone(base_url: str, number: int) -> float | None:
    """Return when the upstream saw so many clients leave the slow model; waits a while for it."""
    end_s = time.monotonic() + 5.0
    while time.monotonic() < end_s:
        gone = [one.at_s for one in (await asked(base_url)).gone if one.model == _SLOW]
        if len(gone) >= number:
            return gone[number - 1]
        await asyncio.sleep(0.02)
    return None


def _config(cases: tuple[_Case, ...], base_url: str, *, well: str) -> str:
    """Return a configuration with a deployment and a virtual model for every case.

    A sibling is a replica: the same model, on a server that is well.
    """
    slow = _DEPLOYMENT.format(
        name="slow", upstream=_SLOW, base_url=base_url, engine="openai", p=0.7
    )
    parts = [_HEAD.format(port=free_port()), slow]
    for number, case in enumerate(cases):
        engine = "openai" if case.alone else "vllm"
        known = {"upstream": f"fault:{case.fault}#{number}", "engine": engine, "p": 0.9}
        parts.append(_DEPLOYMENT.format(name=case.name, base_url=base_url, **known))
        allowed = [case.name]
        if not case.alone:
            allowed.append(f"{case.name}-well")
            parts.append(_DEPLOYMENT.format(name=allowed[-1], base_url=well, **known))
        listed = msgspec.json.encode(allowed).decode()
        parts.append(f'[[virtual]]\nname = "v-{case.name}"\nallowed = {listed}\n')
    return "".join(parts)


_HEAD = """
[server]
port = {port}
[models]
fleet = "none"
[ledger]
kind = "memory"
[routing]
kind = "best"
connect_timeout_s = 2.0
first_token_timeout_s = 2.0
stall_timeout_s = 1.5
stage_timeout_s = 6.0
"""
_DEPLOYMENT = """
[[deployment]]
name = "{name}"
base_url = "{base_url}"
upstream_model = "{upstream}"
engine = "{engine}"
tier = "small"
capabilities = ["chat", "logprobs"]
[[belief]]
deployment = "{name}"
p_correct = {p}
evidence = 1000
"""
