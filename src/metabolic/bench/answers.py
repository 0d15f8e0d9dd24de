"""Every model's answer to every question: recorded once, kept in a file, replayed at will.

A file holds one JSON value a line: the fleet, then each question with what the classifier saw of
it, then the answers. No text of a question is in it; an interrupted run goes on where it stopped.
"""

__all__ = [
    "MAX_TOKENS",
    "Answerer",
    "Asked",
    "Book",
    "Measured",
    "Recorded",
    "Respondent",
    "cpu_s_of",
    "load",
    "record",
]

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from metabolic.bench.grading import is_right
from metabolic.bench.questions import Question, prompt
from metabolic.core.attempt import Call, Reply
from metabolic.core.errors import BackendError, ConfigError
from metabolic.core.fleet import Deployment
from metabolic.core.ports import Classifier
from metabolic.core.request import Request, Sampling
from metabolic.core.signals import Signals

MAX_TOKENS = 24
"""Longest answer; the right ones are a few tokens long."""


_WARM_UP = Question(id="warm-up", set="", kind="", text="Ready?", grade="exact", answers=("yes",))


class Measured(Struct, frozen=True, kw_only=True, tag="deployment"):
    """One deployment of the fleet that was measured."""

    deployment: Deployment


class Asked(Struct, frozen=True, kw_only=True, tag="question"):
    """A question as it was asked: its set, length, and what the classifier saw."""

    id: str
    set: str
    kind: str
    chars: int
    signals: Signals


class Recorded(Struct, frozen=True, kw_only=True, tag="answer"):
    """One answer. ``cpu_s`` are the engine's CPU seconds (``None``: not on this machine).

    ``failure`` is the kind of error when there was no answer.
    """

    question: str
    deployment: str
    text: str
    right: bool
    seconds: float
    cpu_s: float | None = None
    finish_reason: str | None = None
    logprobs: tuple[float, ...] = ()
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    failure: str | None = None


Line = Measured | Asked | Recorded
"""One line of a file."""


class Book(Struct, kw_only=True):
    """All that was recorded: deployments by name, questions by id, answers by both."""

    deployments: dict[str, Deployment] = {}
    questions: dict[str, Asked] = {}
    answers: dict[tuple[str, str], Recorded] = {}

    def add(self, line: Line) -> None:
        """Enter one line."""
        match line:
            case Measured():
                self.deployments[line.deployment.name] = line.deployment
            case Asked():
                self.questions[line.id] = line
            case Recorded():
                self.answers[line.question, line.deployment] = line

    def complete(self) -> tuple[Asked, ...]:
        """Return the questions that every deployment answered, or failed at."""
        names = tuple(self.deployments)
        return tuple(
            one
            for one in self.questions.values()
            if all((one.id, name) in self.answers for name in names)
        )


class Answerer(Protocol):
    """Who is asked; ``metabolic.core.ports.Backend`` without what is not needed here."""

    async def complete(self, request: Request, call: Call) -> Reply:
        """Return the whole answer."""
        ...


class Respondent(Struct, frozen=True, kw_only=True):
    """One deployment that is running: who to ask, and the process whose CPU time counts."""

    deployment: Deployment
    backend: Answerer
    pid: int | None = None


def load(path: Path) -> Book:
    """Return what a file holds; an empty book when there is none.

    A last line that was cut short is left out.

    Raises:
        ConfigError: the file cannot be read or is not one of ours.
    """
    book = Book()
    if not path.exists():
        return book
    decoder = msgspec.json.Decoder[Line](Line)
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            book.add(decoder.decode(line))
        except msgspec.DecodeError as exc:
            if number == len(lines) and not line.endswith(b"\n"):
                break
            message = f"{path}: line {number} is no recorded answer: {exc}"
            raise ConfigError(message) from exc
    return book


async def record(
    respondents: Sequence[Respondent],
    questions: Sequence[Question],
    *,
    classifier: Classifier,
    save: Path | None = None,
    say: Callable[[str], None],
) -> Book:
    """Ask every respondent every question and return the book.

    One call at a time: engines at work side by side would slow each other down (two hardware
    threads share a core) and their CPU seconds would say so. One question after the other, so
    that a machine busy with other things weighs on all engines alike. With ``save`` each line is
    appended to the file at once, and what the file has already is not asked again.
    """
    book = Book()
    if save is not None:
        book = load(save)
        _drop_cut_line(save)
    with _pen(book, save) as enter:
        for one in respondents:
            enter(Measured(deployment=one.deployment))
        for question in questions:
            if question.id not in book.questions:
                enter(_asked(question, classifier))
        known = frozenset(book.answers)
        left = [
            (question, missing)
            for question in questions
            if (missing := [one for one in respondents if _key(question, one) not in known])
        ]
        await _interview(respondents, left, enter, say)
    return book


@contextlib.contextmanager
def _pen(book: Book, save: Path | None) -> Generator[Callable[[Line], None]]:
    """Give the means to enter a line, in the book and at once in the file, if there is one."""
    with contextlib.ExitStack() as stack:
        file = None if save is None else stack.enter_context(save.open("ab"))

        def enter(line: Line) -> None:
            book.add(line)
            if file is not None:
                file.write(msgspec.json.encode(line) + b"\n")
                file.flush()

        yield enter


async def _interview(
    respondents: Sequence[Respondent],
    left: Sequence[tuple[Question, list[Respondent]]],
    enter: Callable[[Line], None],
    say: Callable[[str], None],
) -> None:
    """Ask what is left, question by question."""
    if not left:
        return
    for one in respondents:
        await _ask(one, _WARM_UP)  # the worked examples enter the prompt cache unmeasured
    every = max(1, len(left) // 40)
    for number, (question, missing) in enumerate(left, 1):
        for one in missing:
            enter(await _ask(one, question))
        if number % every == 0 or number == len(left):
            say(f"{number} of {len(left)} questions")


def _key(question: Question, one: Respondent) -> tuple[str, str]:
    """Return under which key an answer is in the book."""
    return question.id, one.deployment.name


def _drop_cut_line(path: Path) -> None:
    """Take away a last line that an interrupted run left open, so that it spoils only itself."""
    held = path.read_bytes() if path.exists() else b""
    if held and not held.endswith(b"\n"):
        path.write_bytes(held[: held.rfind(b"\n") + 1])


def _asked(question: Question, classifier: Classifier) -> Asked:
    """Return a question with what the classifier sees of it."""
    request = Request(id=question.id, dialect="chat", model="auto", messages=prompt(question))
    return Asked(
        id=question.id,
        set=question.set,
        kind=question.kind,
        chars=len(question.text),
        signals=classifier.classify(request),
    )


async def _ask(one: Respondent, question: Question) -> Recorded:
    """Ask one question and grade the answer."""
    call = Call(id="c0", stage=0, deployment=one.deployment.name, logprobs=True)
    cpu_s, began_s = cpu_s_of(one.pid), time.perf_counter()
    failure = None
    try:
        reply = await one.backend.complete(_request(question), call)
    except BackendError as exc:
        reply, failure = Reply(), type(exc).__name__
    seconds, spent = time.perf_counter() - began_s, cpu_s_of(one.pid)
    choice = reply.choices[0] if reply.choices else None
    text = "" if choice is None else choice.text.strip()
    return Recorded(
        question=question.id,
        deployment=one.deployment.name,
        text=text,
        right=choice is not None and is_right(question, text),
        seconds=round(seconds, 6),
        cpu_s=None if cpu_s is None or spent is None else round(spent - cpu_s, 6),
        finish_reason=None if choice is None else choice.finish_reason,
        logprobs=() if choice is None else tuple(round(one, 5) for one in choice.logprobs),
        input_tokens=reply.usage.input_tokens,
        cached_tokens=reply.usage.cached_tokens,
        output_tokens=reply.usage.output_tokens,
        failure=failure,
    )


def _request(question: Question) -> Request:
    """Return the request that asks a question: temperature 0, a few tokens."""
    messages = prompt(question)
    body = {
        "model": "auto",
        "messages": [
            {"role": turn.role, "content": "".join(getattr(b, "text", "") for b in turn.content)}
            for turn in messages
        ],
        "temperature": 0,
        "seed": 0,
        "max_tokens": MAX_TOKENS,
    }
    return Request(
        id=question.id,
        dialect="chat",
        model="auto",
        messages=messages,
        sampling=Sampling(temperature=0.0, max_output_tokens=MAX_TOKENS, seed=0),
        body=msgspec.json.encode(body),
    )


def cpu_s_of(pid: int | None) -> float | None:
    """Return the CPU seconds of a process so far; ``None`` when they cannot be read.

    The kernel's scheduler statistics count nanoseconds for each thread; elsewhere the process's
    own times do, in ticks.
    """
    if pid is None:
        return None
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
                total += int((task / "schedstat").read_bytes().split()[0])
    except OSError:
        return _process_times_s(pid)
    return total / 1e9 if total else _process_times_s(pid)


def _process_times_s(pid: int) -> float | None:
    """Return user and system time of a process; ``None`` when it is gone."""
    import psutil  # noqa: PLC0415 - only where the kernel has no better

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return times.user + times.system
