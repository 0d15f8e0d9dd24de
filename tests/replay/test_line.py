"""What the real gateway writes, replay finds equal, and no text is in it."""

import contextlib
from pathlib import Path

import openai
import pytest

from metabolic import plugins
from metabolic.replay.verify import verify
from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeserver import serve_in_thread
from metabolic.testing.gateway import config_for, gateway_in_thread

_CANARY = "a prompt that nobody may keep"


@pytest.mark.parametrize("kind", ["sqlite", "jsonl"])
def test_the_gateways_records_replay_equal_and_quote_nobody(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger" / f"ledger.{kind}"
    with serve_in_thread() as upstream:
        models = {"good": "fake", "dead": "fault:503", "torn": "fault:cut40"}
        fleet = {name: (upstream.base_url, model) for name, model in models.items()}
        text = config_for(fleet, ledger=kind).replace(
            f'kind = "{kind}"\n', f'kind = "{kind}"\npath = "{path}"\n'
        )
        with gateway_in_thread(text) as gateway:
            asked = _ask_all(gateway.base_url, ("auto", "auto:fast", *models))
    ledger = plugins.ledger(kind, {"path": str(path), "read_only": True})
    report = verify(ledger)
    assert report.differences == ()
    assert report.equal == asked
    kept = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for record in ledger.records():
        kept += repr(record).encode()
    assert _CANARY.encode() not in kept
    assert TEXT.encode() not in kept


def _ask_all(base_url: str, models: tuple[str, ...]) -> int:
    """Ask each model for an answer and for a stream; return how many requests that is."""
    asked = 0
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        for model in models:
            for stream in (False, True):
                asked += 1
                with contextlib.suppress(openai.APIError):
                    made = client.chat.completions.create(
                        model=model, messages=[{"role": "user", "content": _CANARY}], stream=stream
                    )
                    if isinstance(made, openai.Stream):
                        list(made)
    return asked
