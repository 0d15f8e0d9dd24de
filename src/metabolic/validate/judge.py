"""A model asked how likely a draft is right: opt-in, slow, and charged.

It is asked only about drafts behind a confidence gate (their calls ask for log-probabilities), and
its number is the confidence. A judge that cannot be reached, or gives no number, is sure of
nothing: the draft is passed on, since a gate must not open because its guard is away.
"""

__all__ = ["JudgeValidator", "Options", "check_cost", "create"]

import asyncio
import http.client
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from metabolic.core.attempt import Attempt, Reply, Verdict
from metabolic.core.checking import CheckCost
from metabolic.core.errors import ConfigError
from metabolic.core.request import Request
from metabolic.decide.judge import JUDGE_TOKENS, judge_prompt, judged
from metabolic.validate.context import question_of

_TYPICAL_TOKENS = 400
_CPU_S = 1e-3
_LONGEST_BYTES = 1 << 20
_OK = 200


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to ask, and what it costs.

    ``base_url`` is of an OpenAI-compatible API, with its ``/v1``. Prices are dollars per million
    tokens; ``seconds`` is what an answer typically takes. ``timeout_s`` is the longest wait.
    """

    base_url: str
    model: str
    api_key: str | None = None
    input_usd_per_million_tokens: float = 0.0
    output_usd_per_million_tokens: float = 0.0
    seconds: float = 1.0
    timeout_s: float = 20.0

    def __repr__(self) -> str:
        """Show all but the key."""
        return f"Options({self.base_url!r}, {self.model!r})"


class JudgeValidator:
    """Asks about the first choice; says nothing of answers that no gate waits for."""

    name = "judge"
    cost_s = _CPU_S

    def __init__(self, options: Options) -> None:
        """Read the address. Raises ``ConfigError`` when it is none."""
        parts = urlsplit(options.base_url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            message = "judge base_url: give http://HOST/v1 or https://HOST/v1"
            raise ConfigError(message)
        self._options = options
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}/chat/completions"

    async def check(self, request: Request, attempt: Attempt, reply: Reply) -> Verdict:
        """Return the judge's P(right) as the confidence; 0 where it has none to give."""
        silent = Verdict(well_formed=True, validator=self.name)
        asked = attempt.call.logprobs and request.dialect == "chat" and reply.choices
        if not asked or not reply.choices[0].text.strip():
            return silent
        prompt = judge_prompt(question_of(request), reply.choices[0].text)
        said = await asyncio.to_thread(self._ask, prompt)
        found = None if said is None else judged(said)
        reasons = () if found is not None else ("judge: no answer",)
        return Verdict(
            well_formed=True, confidence=found or 0.0, reasons=reasons, validator=self.name
        )

    def _ask(self, prompt: str) -> str | None:
        """Return what the judge says; ``None`` when it cannot be reached, or says nothing."""
        options = self._options
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        link = kind(self._host, self._port, timeout=options.timeout_s)
        body: dict[str, Any] = {
            "model": options.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": JUDGE_TOKENS,
            "temperature": 0,
        }
        headers = {"content-type": "application/json"}
        if options.api_key is not None:
            headers["authorization"] = f"Bearer {options.api_key}"
        try:
            link.request("POST", self._path, msgspec.json.encode(body), headers)
            answer = link.getresponse()
            content = answer.read(_LONGEST_BYTES)
            return _text(content) if answer.status == _OK else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            link.close()


class _Message(Struct):
    content: str | None = None


class _Choice(Struct):
    message: _Message


class _Answer(Struct):
    choices: list[_Choice]


def _text(body: bytes) -> str | None:
    """Return the text of an answer; ``None`` for anything else."""
    try:
        choices = msgspec.json.decode(body, type=_Answer).choices
    except msgspec.MsgspecError:
        return None
    return choices[0].message.content if choices else None


def check_cost(options: Options) -> CheckCost:
    """Return what a gated draft typically takes: its question read, a few tokens written."""
    usd = (
        _TYPICAL_TOKENS * options.input_usd_per_million_tokens
        + JUDGE_TOKENS * options.output_usd_per_million_tokens
    ) / 1e6
    return CheckCost(name="judge", cpu_s=_CPU_S, wait_s=options.seconds, usd=usd, gated=True)


def create(options: Options) -> JudgeValidator:
    """Return the validator. Raises ``ConfigError`` for an address that is none."""
    return JudgeValidator(options)
