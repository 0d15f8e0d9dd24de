"""No text in what is kept, and lines that come back as they went."""

import base64

import msgspec
import pytest
from msgspec import inspect
from msgspec.structs import replace

from metabolic.core.attempt import (
    Attempt,
    Call,
    Checked,
    Choice,
    Ended,
    Failure,
    Reply,
    ReplyChoice,
    ToolCall,
    Verdict,
)
from metabolic.core.errors import LedgerError
from metabolic.core.receipt import Record
from metabolic.core.request import (
    Image,
    Message,
    Opaque,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
)
from metabolic.ledger.codec import (
    BlobEntry,
    RecordEntry,
    SettlementEntry,
    digests_of,
    entry_of,
    line_of,
    without_text,
)
from metabolic.ledger.packing import Packer, dictionary_of, packed_receipt, receipt_of, unpacked
from metabolic.testing.examples import example_record, example_settlement

_CANARY = "the quick brown canary"

_STRINGS = {
    # Names that Metabolic or its operator gives.
    "Answer": {"call", "deployment"},
    "Arm": {"deployment", "variant"},
    "AttemptBill": {"call", "deployment", "role", "reasons", "validator", "variant"},
    "Baseline": {"deployment"},
    "Call": {"id", "deployment", "variant"},
    "Candidate": {"deployment", "variant", "rejected"},
    "Cancel": {"call", "why"},
    "Checked": {"call"},
    "Claim": {"source", "why"},  # a document's name in the operator's fact base; stable words
    "Decision": {
        "reference",
        "abstained",
        "reasons",
        "policy_id",
        "certificate",
        "lane",
        "evidence",
    },
    "Checkpoint": {"deployment", "lane"},
    "Ended": {"continued_by"},
    "Hedge": {"deployment"},
    "Dimension": {"name"},
    "Energy": {"meter"},
    "Hit": {"skill"},
    "Load": {"deployment"},
    "PCorrect": {"deployment"},
    "Plan": {"stages"},
    "Progress": {"call"},
    "Reached": {"call"},
    "Record": {"effects_digest"},
    "SituationRef": {"metabolic_id", "fleet_id", "hardware_id"},
    "Speculation": {
        "why",
        "deployment",
        "twin_of",
        "hindered",
        "regime",
        "key",
    },  # names, fixed words
    "Drafting": {"key"},  # a task, a kind of temperature, a kind of context
    "Stage": {"deployment", "variant"},
    "WarmPrefix": {"deployment"},
    # Labels a client gives to be found again by; bounded where they come in.
    "AgentTask": {"id"},
    "Ask": {
        "id",
        "dialect",
        "tenant",
        "session",
        "task",
        "pin",
        "allowed",
        "needs",
        "conversation_pin",
    },
    "Receipt": {"id", "task", "level"},
    "Signal": {"name"},
    # Words of a classifier, an engine or a validator.
    "Choice": {"finish_reason"},
    "Signals": {"task", "lane", "language", "classifier", "hints"},
    # Emptied, or cut at the colon, before anything is kept.
    "Failure": {"message", "code"},  # a code is one of two words that are acted on
    "Verdict": {"reasons", "validator"},
}
"""Every place for text in a record. A new one must be thought about before it is added here."""


def _strings(kind: inspect.Type, found: dict[str, set[str]]) -> bool:
    """Collect the fields of all reachable structs that can hold any string."""
    match kind:
        case inspect.StructType():
            name = kind.cls.__name__
            if name not in found:
                found[name] = set()
                for field in kind.fields:
                    if _strings(field.type, found):
                        found[name].add(field.name)
            return False
        case inspect.UnionType():
            return True in {_strings(one, found) for one in kind.types}
        case inspect.VarTupleType() | inspect.ListType():
            return _strings(kind.item_type, found)
        case inspect.TupleType():
            return True in {_strings(one, found) for one in kind.item_types}
        case inspect.StrType() | inspect.BytesType() | inspect.AnyType() | inspect.DictType():
            return True
        case _:
            return False


def test_every_place_for_text_in_a_record_is_known() -> None:
    found: dict[str, set[str]] = {}
    _strings(inspect.type_info(Record), found)
    places = {name: fields for name, fields in found.items() if fields}
    new = {
        name: unknown
        for name, fields in places.items()
        if (unknown := fields - _STRINGS.get(name, set()))
    }
    assert new == {}, "say in _STRINGS why it cannot hold a prompt or an answer"


def test_what_holds_text_cannot_be_reached_from_a_record() -> None:
    found: dict[str, set[str]] = {}
    _strings(inspect.type_info(Record), found)
    texts = (Request, Reply, ReplyChoice, ToolCall, Message, Text, Thinking, ToolUse, ToolResult)
    assert found.keys().isdisjoint(kind.__name__ for kind in texts)


def _request() -> Request:
    """Return a request that says the canary wherever it can."""
    return Request(
        id="req-canary",
        dialect="chat",
        model="auto",
        messages=(
            Message(
                role="user",
                content=(
                    Text(text=_CANARY),
                    Image(),
                    ToolUse(id=_CANARY, name=_CANARY, arguments=_CANARY),
                    ToolResult(id=_CANARY, text=_CANARY),
                    Thinking(text=_CANARY),
                    Opaque(kind=_CANARY),
                ),
            ),
        ),
        tools=(Tool(name=_CANARY, parameters=_CANARY.encode()),),
        response_format=ResponseFormat(kind="json_schema", schema=_CANARY.encode()),
        sampling=Sampling(stop=(_CANARY,)),
        body=_CANARY.encode(),
    )


def _reply() -> Reply:
    """Return an answer that says the canary wherever it can."""
    return Reply(
        choices=(
            ReplyChoice(
                text=_CANARY,
                reasoning=_CANARY,
                refusal=_CANARY,
                tool_calls=(ToolCall(name=_CANARY, arguments=_CANARY),),
            ),
        ),
        body=_CANARY.encode(),
    )


def _told(request: Request, reply: Reply) -> Record:
    """Return the record of that request, its failures and reasons quoting all they can."""
    record = example_record()
    said = reply.choices[0].text
    asked = request.body.decode()
    failure = Failure(kind="refused", message=f"your prompt {asked!r} is too long", status=400)
    verdict = Verdict(well_formed=False, reasons=(f"json_schema: $.{said} is {said!r}", "refusal"))
    failed = Attempt(
        call=Call(id="c0", stage=0, deployment="small"),
        began_s=0.0,
        ended_s=1.0,
        choices=(Choice(finish_reason="stop", output_chars=len(said)),),
        failure=failure,
    )
    bills = tuple(
        replace(one, failure=failure, reasons=verdict.reasons) for one in record.receipt.attempts
    )
    return replace(
        record,
        ask=replace(record.ask, id=request.id),
        attempts=(failed, *record.attempts),
        events=(Ended(attempt=failed, at_s=1.0), Checked(call="c0", verdict=verdict, at_s=1.0)),
        receipt=replace(record.receipt, answer=None, failure=failure, attempts=bills),
    )


def test_no_prompt_and_no_answer_is_in_what_is_encoded() -> None:
    record = without_text(_told(_request(), _reply()))
    packed, _ = Packer().pack(record, deflate=False)
    receipt = packed_receipt(record.receipt).encode()
    for encoded in (line_of(RecordEntry(record=record)), packed, receipt, dictionary_of(record)):
        assert _CANARY.encode() not in encoded
        assert base64.b64encode(_CANARY.encode()) not in encoded


def test_what_a_failure_and_a_reason_say_of_themselves_is_kept() -> None:
    record = without_text(_told(_request(), _reply()))
    assert record.receipt.failure == Failure(kind="refused", status=400)
    assert record.attempts[0].failure == Failure(kind="refused", status=400)
    assert record.receipt.attempts[0].reasons == ("json_schema", "refusal")


def test_a_record_without_any_text_is_itself() -> None:
    record = example_record()
    assert without_text(record) is record


@pytest.mark.parametrize(
    "entry",
    [
        RecordEntry(record=example_record()),
        SettlementEntry(settlement=example_settlement(example_record())),
        BlobEntry(digest="digest", blob=b"\x00\xff\n"),
    ],
)
def test_a_line_comes_back_as_it_went(entry: RecordEntry | SettlementEntry | BlobEntry) -> None:
    line = line_of(entry)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert entry_of(line) == entry


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"type":"other"}', b"\xff\xfe"])
def test_a_line_that_is_not_ours_is_an_error(line: bytes) -> None:
    with pytest.raises(LedgerError, match="not a ledger line"):
        entry_of(line)


def test_a_record_names_the_blobs_it_refers_to() -> None:
    record = example_record()
    assert set(digests_of(record)) == {"fleet-0", "state-0", "readings-0", "policy-0"}
    bare = replace(record, situation=replace(record.situation, hardware_id=None))
    assert "readings-0" not in digests_of(bare)


@pytest.mark.parametrize("deflate", [False, True])
def test_a_packed_record_comes_back_as_it_went(*, deflate: bool) -> None:
    record = example_record(7)
    packer = Packer(3, dictionary_of(example_record(1)))
    body, number = packer.pack(record, deflate=deflate)
    dictionaries = {3: dictionary_of(example_record(1))}
    assert unpacked(body, packed_receipt(record.receipt), number, dictionaries) == record


def test_attempts_that_are_not_those_of_the_events_are_kept() -> None:
    record = replace(example_record(), attempts=example_record().attempts[:1])
    body, number = Packer().pack(record, deflate=False)
    assert unpacked(body, packed_receipt(record.receipt), number, {}) == record
    empty = replace(record, attempts=())
    body, number = Packer().pack(empty, deflate=False)
    assert unpacked(body, packed_receipt(empty.receipt), number, {}) == empty


def test_a_damaged_record_is_an_error() -> None:
    body, _ = Packer().pack(example_record(), deflate=False)
    receipt = packed_receipt(example_record().receipt)
    with pytest.raises(LedgerError, match="unreadable record"):
        unpacked(body[:-5], receipt, None, {})
    with pytest.raises(LedgerError, match="unreadable record"):
        unpacked(body, receipt, 9, {})
    with pytest.raises(LedgerError, match="unreadable receipt"):
        unpacked(body, receipt[:-5], None, {})


def test_a_receipt_comes_back_as_it_went() -> None:
    receipt = example_record().receipt
    assert receipt_of(packed_receipt(receipt)) == receipt


def test_a_dictionary_names_nobody() -> None:
    record = example_record()
    body = dictionary_of(record)
    for name in (record.ask.id, record.ask.tenant, record.ask.session):
        assert name is not None
        assert name.encode() not in body


def test_deflating_against_a_dictionary_saves_most_of_the_bytes() -> None:
    packer = Packer(1, dictionary_of(example_record(1)))
    plain, _ = packer.pack(example_record(2), deflate=False)
    deflated, _ = packer.pack(example_record(2), deflate=True)
    assert len(deflated) < len(plain) / 5
    assert len(plain) < len(msgspec.json.encode(example_record(2)))
