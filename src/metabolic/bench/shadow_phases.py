"""The phases of the shadow's benchmark: a gateway in each mode, questions, and rows to wait for."""

__all__ = ["Asked", "Phases", "ask_all", "fakes", "gateway", "rows_of", "settle", "up"]

import contextlib
import http.client
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from metabolic.bench.grading import is_right
from metabolic.bench.processes import Child, free_port
from metabolic.bench.questions import Question, prompt
from metabolic.core.errors import MetabolicError
from metabolic.core.request import Text
from metabolic.core.shadow import ShadowRow

_START_S = 60.0
_SETTLE_S = 300.0
_ASK_S = 120.0
_MAX_TOKENS = 24
_OK = 200


class Phases(Struct, frozen=True, kw_only=True):
    """Who is asked what: ``halves`` are the questions of before and after the switch.

    ``model`` is what clients ask for, ``deployments`` the fleet as TOML, ``prices`` dollars per
    prompt and per answer token of the upstream, and ``cpu_s`` the engines' CPU seconds so far.
    ``key`` is the upstream's (``None``: it asks for none).
    """

    halves: tuple[tuple[Question, ...], tuple[Question, ...]]
    model: str
    upstream_model: str
    small_model: str
    upstream_port: int
    deployments: str
    prices: tuple[float, float]
    cpu_s: Callable[[], float]
    key: str | None = None


class Asked(Struct, frozen=True, kw_only=True):
    """One question as it was answered: by whom, for how much, and whether it is right."""

    usd: float
    seconds: float
    small: bool
    right: bool


_CONFIG = """
[server]
port = {port}
log_level = "error"
[models]
fleet = "none"
[sense]
enabled = false
[lanes]
mode = "off"
[capacity]
enabled = false
[profile]
name = "edge"
preference = {preference}
[ledger]
kind = "jsonl"
path = "{folder}/ledger.jsonl"
[shadow]
mode = "{mode}"
upstream = "{upstream}"
sample_ratio = 1.0
queue = 1000
max_usd_per_day = 1000.0
"""


@contextlib.contextmanager
def gateway(folder: Path, phases: Phases, *, mode: str, preference: float) -> Generator[int]:
    """Run ``metabolic serve`` in this mode; the two configurations differ in one line."""
    port = free_port()
    path = folder / f"{mode}.toml"
    head = _CONFIG.format(
        port=port, folder=folder, mode=mode, upstream=phases.model, preference=preference
    )
    path.write_text(head + phases.deployments)
    arguments = ("metabolic", "serve", "--config", str(path))
    with Child(*arguments, core=None, log=folder / f"{mode}.log") as child:
        up(child, port)
        yield port


def up(child: Child, port: int) -> None:
    """Wait until a gateway is ready. Raises ``MetabolicError``."""
    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s and child.alive():
        with contextlib.suppress(OSError), contextlib.closing(_line(port, 5.0)) as line:
            line.request("GET", "/ready")
            if line.getresponse().status == _OK:
                return
        time.sleep(0.01)
    message = f"the gateway did not become ready: {child.last_words()}"
    raise MetabolicError(message)


def ask_all(port: int, questions: Sequence[Question], phases: Phases, *, model: str) -> list[Asked]:
    """Ask one after another; return what came of each."""
    return [_ask(port, one, phases, model) for one in questions]


def _ask(port: int, question: Question, phases: Phases, model: str) -> Asked:
    """Ask one question. Raises ``MetabolicError`` when it is not answered."""
    messages = [
        {"role": one.role, "content": "".join(b.text for b in one.content if isinstance(b, Text))}
        for one in prompt(question)
    ]
    body: dict[str, Any] = {"model": model, "messages": messages, "temperature": 0}
    began_s = time.perf_counter()
    with contextlib.closing(_line(port, _ASK_S)) as line:
        head = {"content-type": "application/json"}
        if phases.key is not None and port == phases.upstream_port:
            head["authorization"] = f"Bearer {phases.key}"
        raw = msgspec.json.encode(body | {"max_tokens": _MAX_TOKENS})
        line.request("POST", "/v1/chat/completions", raw, head)
        answer = line.getresponse()
        said: Any = msgspec.json.decode(answer.read())
    if answer.status != _OK:
        message = f"{question.id}: status {answer.status}"
        raise MetabolicError(message)
    usage, told = said["usage"], answer.getheader("metabolic-cost-usd")
    prices = phases.prices
    usd = usage["prompt_tokens"] * prices[0] + usage["completion_tokens"] * prices[1]
    return Asked(
        usd=usd if told is None else float(told),
        seconds=time.perf_counter() - began_s,
        small=answer.getheader("metabolic-deployment") == phases.small_model,
        right=is_right(question, said["choices"][0]["message"]["content"] or ""),
    )


def _line(port: int, timeout_s: float) -> http.client.HTTPConnection:
    """Return a connection."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)


def rows_of(folder: Path) -> list[ShadowRow]:
    """Return the rows that the shadow has kept."""
    path = folder / "ledger.shadow.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=ShadowRow) for line in lines]


def settle(folder: Path, count: int, phases: Phases) -> None:
    """Wait until so many rows are kept, or no more are coming."""
    del phases
    end_s, seen, still_s = time.monotonic() + _SETTLE_S, -1, time.monotonic()
    while time.monotonic() < end_s:
        now = len(rows_of(folder))
        if now >= count or time.monotonic() - still_s > _ASK_S:
            return
        if now != seen:
            seen, still_s = now, time.monotonic()
        time.sleep(0.1)


_FAKES = """
[[deployment]]
name = "big"
base_url = "http://127.0.0.1:{port}/v1"
tier = "large"
capabilities = ["chat", "logprobs"]
input_usd_per_million_tokens = 1.0
output_usd_per_million_tokens = 4.0
[[deployment]]
name = "small"
base_url = "http://127.0.0.1:{port}/v1"
tier = "tiny"
capabilities = ["chat", "logprobs"]
input_usd_per_million_tokens = 0.1
output_usd_per_million_tokens = 0.4
[[belief]]
deployment = "big"
p_correct = 0.86
evidence = 1000
[[belief]]
deployment = "small"
p_correct = 0.84
p_accept = 0.9
p_correct_accepted = 0.97
evidence = 1000
"""


@contextlib.contextmanager
def fakes(folder: Path, questions: int, seed: int) -> Generator[Phases]:
    """Give a fleet of one mock under two names: it always says the same."""
    del seed
    some = tuple(
        Question(id=str(n), set="fake", kind="", text=f"{n}?", grade="exact", answers=("twelve",))
        for n in range(2 * min(questions, 30))
    )
    with Child("metabolic.bench.mock", core=None, log=folder / "fakes.log") as mock:
        port = int(mock.line())
        yield Phases(
            halves=(some[::2], some[1::2]),
            model="big",
            upstream_model="big",
            small_model="small",
            upstream_port=port,
            deployments=_FAKES.format(port=port),
            prices=(1e-6, 4e-6),
            cpu_s=lambda: 0.0,
        )
