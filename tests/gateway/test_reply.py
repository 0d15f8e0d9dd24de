"""What a client is told of a certified answer."""

import msgspec
import pytest

from metabolic.core.attempt import Answer
from metabolic.core.receipt import Record
from metabolic.gateway.reply import summary, summary_headers
from metabolic.ledger.memory import Options, create
from metabolic.testing.records import fill_ledger


def answered(*, certified: bool) -> Record:
    """Return a record whose answer is certified, or not."""
    ledger = create(Options())
    fill_ledger(ledger, 1)
    record = next(iter(ledger.records()))
    answer = Answer(call="c0", deployment="small", certified=certified)
    return msgspec.structs.replace(
        record,
        decision=msgspec.structs.replace(record.decision, certified=True, certificate="feed"),
        receipt=msgspec.structs.replace(record.receipt, answer=answer),
    )


@pytest.mark.parametrize(("certified", "told"), [(True, "feed"), (False, None)])
def test_a_certified_answer_names_its_certificate(*, certified: bool, told: str | None) -> None:
    record = answered(certified=certified)
    assert summary(record).certificate == told
    header = dict(summary_headers(record)).get(b"metabolic-certificate")
    assert header == (told.encode() if told else None)
