"""Measured energies of whole runs, joined as one slow meter would see them.

Each row of the recordings is one run that was metered on its own: so many equal requests at once,
their tokens, its length, its joules. Runs of one machine and model are joined, one after another,
into windows of a slow meter, which reads the sum; the ways of sharing then have to find each run's
joules again. The tables are found by their columns, whatever their files are called.
"""

__all__ = ["Run", "cases", "read"]

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import cast

from msgspec import Struct

from metabolic.account.presence import Flight
from metabolic.bench.energy_meter import UNIT_J, Clock, Counter, Rig
from metabolic.bench.energy_scores import METHODS, Case, baselines
from metabolic.core.fleet import Deployment, Model
from metabolic.core.request import Usage

_TOGETHER = 4
"""Runs in one window."""

_PHASES = ("Phase", "Runtime (s)", "GPU Energy (J)", "Number of Input Tokens", "Batch Size")
_SPLIT = ("prompt_size", "token_size", "batch_size", "average_power", "prompt_time", "e2e_time")
_WARM_UP = 0

_TDP_W = {"a100": 400.0, "h100": 700.0}
"""Watts that the recordings' shares of the board's power refer to; only their ratio matters."""


class Run(Struct, frozen=True, kw_only=True):
    """One metered run: ``batch`` equal requests at once, alone on their machine."""

    group: str
    prompt: int
    output: int
    batch: int
    prefill_s: float | None
    seconds: float
    true_j: float


def read(data: Path) -> dict[str, list[Run]]:
    """Return the runs of every table below ``data`` that has them, by its name."""
    found: dict[str, list[Run]] = {}
    for path in sorted(data.rglob("*.parquet")):
        runs = list(_runs(path))
        if runs:
            found[path.stem] = runs
    return found


def _runs(path: Path) -> Iterator[Run]:
    """Yield the runs of one file; nothing where the columns are others."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - only with recordings

    names = set(cast("list[str]", pq.read_schema(path).names))
    if not (names.issuperset(_PHASES) or names.issuperset(_SPLIT)):
        return
    for row in cast("list[dict[str, object]]", pq.read_table(path).to_pylist()):
        run = _phase(row) if "Phase" in row else _split(row)
        if run is not None and run.true_j > 0 and run.seconds > 0 and run.prompt + run.output > 0:
            yield run


def _phase(row: dict[str, object]) -> Run | None:
    """Return a run of the phase tables; not those that load models, nor the first, warming up."""
    if "inference" not in str(row["Phase"]) or row.get("Iteration") == _WARM_UP:
        return None
    prompt, output = _number(row, "Number of Input Tokens"), _number(row, "Number of Output Tokens")
    if not (prompt and output):
        return None
    return Run(
        group="/".join(str(row.get(name)) for name in ("System", "Model", "Number of GPUs")),
        prompt=int(prompt),
        output=int(output),
        batch=int(_number(row, "Batch Size") or 1),
        prefill_s=None,
        seconds=_number(row, "Runtime (s)"),
        true_j=_number(row, "GPU Energy (J)"),
    )


def _split(row: dict[str, object]) -> Run | None:
    """Return a run of the tables that tell prompt and token time; times are in milliseconds."""
    hardware = str(row.get("hardware"))
    watts = next((w for name, w in _TDP_W.items() if hardware.startswith(name)), 1.0)
    seconds = _number(row, "e2e_time") / 1000
    boards = _number(row, "tensor_parallel") or 1.0
    return Run(
        group="/".join(str(row.get(name)) for name in ("model", "hardware", "tensor_parallel")),
        prompt=int(_number(row, "prompt_size")),
        output=int(_number(row, "token_size")),
        batch=int(_number(row, "batch_size") or 1),
        prefill_s=_number(row, "prompt_time") / 1000,
        seconds=seconds,
        true_j=_number(row, "average_power") * watts * boards * seconds,
    )


def _number(row: dict[str, object], name: str) -> float:
    """Return a cell as a number; 0 where there is none."""
    value = row.get(name)
    return float(value) if isinstance(value, int | float) and value == value else 0.0  # noqa: PLR0124


def cases(runs: Sequence[Run], *, seed: int, most: int | None) -> list[Case]:
    """Return what every run was charged, and what it truly took; at most ``most`` windows."""
    draw, groups = Random(seed), dict[str, list[Run]]()
    for one in runs:
        groups.setdefault(one.group, []).append(one)
    found: list[Case] = []
    share = None if most is None else max(3, most // len(groups))
    for name in sorted(groups):
        members = groups[name]
        draw.shuffle(members)
        joined = [members[i : i + _TOGETHER] for i in range(0, len(members), _TOGETHER)]
        whole = [one for one in joined if len(one) == _TOGETHER][:share]
        found += _group(name, whole, first=len(found))
    return found


def _group(name: str, joined: Sequence[Sequence[Run]], *, first: int) -> list[Case]:
    """Play the windows of one machine and model to a meter, in order, and share each."""
    clock = Clock()
    counter = Counter("gpu0", domain="gpu", clock=clock, knows_idle=False)
    model = Model(id=name, tier="medium", active_parameters=7_000_000_000)
    fleet = {name: Deployment(name=name, model=model, kind="pool", device="gpu0")}
    rig = Rig((counter,), fleet, clock, longest_s=1e9)
    flights: dict[tuple[int, int], list[Flight]] = {}
    windows: list[tuple[float, float, float]] = []
    for number, window in enumerate(joined):
        from_s, joules = clock.at_s, 0.0
        for place, run in enumerate(window):
            flights[number, place] = _play(rig, run, f"{number}.{place}", name)
            joules += run.true_j
        counter.spend(round(joules / UNIT_J))
        rig.meters.close_windows()
        windows.append((from_s, clock.at_s, joules))
    rig.meters.close()
    charged = {"ours": {call: energy_j for call, (energy_j, _) in rig.charged().items()}}
    charged |= baselines([one for each in flights.values() for one in each], windows)
    return [
        Case(
            cluster=first + number,
            true_j=joined[number][place].true_j,
            charged_j={
                method: sum(charged[method].get(one.call, 0.0) for one in mine)
                for method in METHODS
            },
        )
        for (number, place), mine in flights.items()
    ]


def _play(rig: Rig, run: Run, name: str, deployment: str) -> list[Flight]:
    """Begin and end the requests of a run, one after another on the clock; return them."""
    began_s = rig.clock.at_s
    first_s = None if run.prefill_s is None else began_s + min(run.prefill_s, run.seconds)
    calls = [f"{name}/{i}" for i in range(run.batch)]
    for call in calls:
        rig.began(call, deployment, None, run.prompt)
    rig.clock.at_s += run.seconds
    usage = Usage(input_tokens=run.prompt, cached_tokens=0, output_tokens=run.output)
    for call in calls:
        rig.ended(call, usage, first_s)
        rig.meters.finished(name)
    return [
        Flight(
            call=call,
            began_s=began_s,
            first_s=first_s,
            ended_s=rig.clock.at_s,
            prompt_tokens=run.prompt,
            output_tokens=run.output,
        )
        for call in calls
    ]
