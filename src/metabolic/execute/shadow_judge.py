"""Two answers compared: by rules, and by a judge where rules cannot tell and one is named."""

__all__ = ["question", "said", "weigh"]

import msgspec
from msgspec.structs import replace

from metabolic.core.attempt import Attempt, Call, Reply, ReplyChoice, Verdict
from metabolic.core.request import Ask, Message, Request, Sampling, Text
from metabolic.decide.evidence import merge
from metabolic.decide.judge import JUDGE_TOKENS, judge_prompt, judged
from metabolic.decide.shadow_label import Label, by_judge, compared
from metabolic.execute.drive import Driver
from metabolic.execute.shadow_books import Books

_MOST_CHARS = 20_000

Took = tuple[float, float]
"""Dollars and joules."""


async def weigh(
    request: Request,
    draft: tuple[Attempt, Reply, Verdict | None],
    reference: Reply,
    *,
    judge: str | None,
    driver: Driver,
    books: Books,
) -> tuple[Label | None, Took]:
    """Return which answer is better, as far as it can be said, and what asking took."""
    attempt, reply, verdict = draft
    broken = verdict is not None and not verdict.well_formed
    both = broken and not await _well_formed(driver, request, attempt, reference)
    label = compared(reply, reference, broken=broken, both_broken=both)
    if label is not None or judge is None:
        return label, (0.0, 0.0)
    return await _asked(judge, request, (reply, reference), driver=driver, books=books)


async def _well_formed(driver: Driver, request: Request, like: Attempt, reply: Reply) -> bool:
    """Say whether the upstream's answer passes where the draft's did not."""
    verdicts = [await each.check(request, like, reply) for each in driver.validators]
    return not verdicts or merge(verdicts).well_formed


async def _asked(
    name: str, request: Request, replies: tuple[Reply, Reply], *, driver: Driver, books: Books
) -> tuple[Label | None, Took]:
    """Ask a judge about both answers."""
    scores: list[float | None] = []
    usd = energy_j = 0.0
    for number, reply in enumerate(replies):
        made = await driver.calls.make(
            _judge_request(
                f"{request.id}/judge{number}", name, judge_prompt(question(request), said(reply))
            ),
            Call(id="c0", stage=0, deployment=name, role="judge"),
            t0_s=driver.clock.monotonic_s(),
            relay=None,
            first=lambda: None,
            ask=_judge_ask(books.ask, number),
        )
        took = books.took((made.attempt,))
        usd, energy_j = usd + (took[0] or 0.0), energy_j + (took[1] or 0.0)
        scores.append(None if made.reply is None else judged(said(made.reply)))
    return by_judge(scores[0], scores[1]), (usd, energy_j)


def _judge_ask(ask: Ask, number: int) -> Ask:
    """Return the ask of a question to a judge: as low in priority as the shadow's own."""
    return replace(ask, id=f"{ask.id}/judge{number}", max_output_tokens=JUDGE_TOKENS)


def _judge_request(identity: str, model: str, prompt: str) -> Request:
    """Return the question to a judge."""
    turn = {"role": "user", "content": prompt}
    body = {"model": model, "messages": [turn], "max_tokens": JUDGE_TOKENS, "temperature": 0}
    return Request(
        id=identity,
        dialect="chat",
        model=model,
        messages=(Message(role="user", content=(Text(text=prompt),)),),
        sampling=Sampling(temperature=0.0, max_output_tokens=JUDGE_TOKENS),
        body=msgspec.json.encode(body),
    )


def question(request: Request) -> str:
    """Return the last thing the user said."""
    for message in reversed(request.messages):
        text = "".join(one.text for one in message.content if isinstance(one, Text))
        if message.role == "user" and text:
            return text[-_MOST_CHARS:]
    return ""


def said(reply: Reply) -> str:
    """Return an answer as text, tool calls included."""
    one = reply.choices[0] if reply.choices else ReplyChoice()
    calls = "".join(f"\n{call.name}({call.arguments})" for call in one.tool_calls)
    return (one.text + calls)[:_MOST_CHARS]
