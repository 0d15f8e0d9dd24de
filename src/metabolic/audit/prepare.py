"""Logs that are no rows yet, made into lines of JSON: whole documents, spans, our own records."""

__all__ = ["csv_lines", "document_lines", "record_lines", "span_lines"]

import csv
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, cast

import msgspec

from metabolic.audit.files import opened
from metabolic.core.errors import ConfigError
from metabolic.core.receipt import AttemptBill, Record

MAX_DOCUMENT_BYTES = 512 * 1024 * 1024
"""A document is read whole; a longer one should be lines of JSON."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

_SPANS = {
    "model": ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name"),
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
    ),
    "cached_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cached_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
    ),
    "reasoning_tokens": ("gen_ai.usage.reasoning.output_tokens",),
    "session": ("gen_ai.conversation.id", "session.id"),
    "tenant": ("user.id", "enduser.id"),
    "lane": ("metabolic.lane",),
}
"""Attributes of a span by column, newest name first.

Source: OpenTelemetry semantic conventions for generative AI; OpenInference (``llm.``).
"""


def csv_lines(path: Path) -> Iterator[bytes]:
    """Iterate over the rows of CSV with a head; columns that hold JSON objects become them.

    A row with more or fewer columns than the head is passed on with the reason.
    """
    with opened(path) as raw, TextIOWrapper(raw, "utf-8-sig", "replace", newline="") as file:
        reader = csv.reader(file)
        empty: list[str] = []
        names = [name.strip() for name in next(reader, empty)]
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as exc:
                yield _encode({"_line": number, "_bad": f"CSV: {exc}"})
                continue
            if len(cells) == len(names):
                row = {n: _cell(c) for n, c in zip(names, cells, strict=True) if c}
                yield _encode(row | {"_line": number})
            elif cells:
                why = f"CSV: {len(cells)} columns instead of {len(names)}"
                yield _encode({"_line": number, "_bad": why})


def _cell(text: str) -> object:
    """Return a cell; decoded if it is a JSON object or list."""
    if text[:1] in {"{", "["}:
        try:
            return _decode(text)
        except msgspec.DecodeError:
            return text
    return text


def document_lines(path: Path) -> Iterator[bytes]:
    """Iterate over the rows of a JSON document: a list, a page of a usage export, traces.

    Raises:
        ConfigError: it is too long, or is no JSON.
    """
    with opened(path) as file:
        body = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(body) > MAX_DOCUMENT_BYTES:
        message = f"{path}: a JSON document of over 512 MiB; write it as lines of JSON"
        raise ConfigError(message)
    try:
        found = _decode(body)
    except msgspec.DecodeError as exc:
        message = f"{path}: not JSON: {exc}"
        raise ConfigError(message) from exc
    for number, row in enumerate(_rows(found), start=1):
        yield _encode({**row, "_line": number} if isinstance(row, dict) else row)


def _rows(found: Any) -> Iterator[Any]:  # noqa: ANN401 - whatever JSON holds
    """Iterate over the rows within a decoded document."""
    if isinstance(found, list):
        for one in cast("list[Any]", found):
            yield from _rows(one)
    elif isinstance(found, dict):
        yield from _of_object(cast("dict[str, Any]", found))
    else:
        yield found


def _of_object(found: dict[str, Any]) -> Iterator[Any]:
    """Iterate over the rows within a decoded object."""
    if "resourceSpans" in found:
        yield from _spans(found)
    elif isinstance(found.get("results"), list):
        bucket = {name: found[name] for name in ("start_time", "end_time") if name in found}
        for one in found["results"]:
            yield bucket | one if isinstance(one, dict) else one
    elif isinstance(found.get("data"), list):
        yield from _rows(found["data"])
    else:
        yield found


def span_lines(path: Path) -> Iterator[bytes]:
    """Iterate over the generative spans in lines of OTLP's JSON; a broken line is kept as it is."""
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                found = _decode(line)
            except msgspec.DecodeError:
                yield line.rstrip(b"\r\n")
                continue
            if not isinstance(found, dict):
                yield line.rstrip(b"\r\n")
                continue
            for row in _spans(cast("dict[str, Any]", found)):
                yield _encode({**row, "_line": number})


def _spans(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Iterate over the rows of one export; spans without a model or tokens are left out."""
    for resource in found.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                row = _span(span)
                if row is not None:
                    yield row


def _span(span: dict[str, Any]) -> dict[str, Any] | None:
    """Return a span as a neutral row; ``None`` where it is not one of a model's calls."""
    attributes = {one["key"]: _value(one.get("value", {})) for one in span.get("attributes", ())}
    row: dict[str, Any] = {
        column: next((attributes[name] for name in names if name in attributes), None)
        for column, names in _SPANS.items()
    }
    if row["model"] is None or (row["input_tokens"] is None and row["output_tokens"] is None):
        return None
    began, ended = span.get("startTimeUnixNano"), span.get("endTimeUnixNano")
    row["id"] = span.get("spanId")
    row["task"] = span.get("traceId")
    row["at_s"] = None if began is None else int(began) / 1e9
    row["seconds"] = None if began is None or ended is None else (int(ended) - int(began)) / 1e9
    row["status"] = "error" if span.get("status", {}).get("code") in {2, "STATUS_CODE_ERROR"} else 0
    row["prompt"] = attributes.get("gen_ai.input.messages") or attributes.get("input.value")
    return row


def _value(value: dict[str, Any]) -> object:
    """Return the value of an attribute, whichever type it has."""
    return next(iter(value.values()), None)


def record_lines(records: Iterable[Record]) -> Iterator[bytes]:
    """Iterate over the calls of our own records as neutral rows, drafts that were discarded too."""
    for number, record in enumerate(records, start=1):
        shadow = {one.deployment: one for one in record.receipt.attempts if one.role == "shadow"}
        answer = None if record.receipt.answer is None else record.receipt.answer.call
        energy = record.receipt.energy
        energy_j = None if energy is None else energy.energy_j  # local; on the first call's row
        for bill in record.receipt.attempts:
            if bill.role != "shadow":
                row = _bill_row(record, bill) | {"_line": number, "energy_j": energy_j}
                energy_j = None
                if bill.call == answer and shadow:
                    other = next(iter(shadow.values()))
                    row |= {
                        "shadow_model": other.deployment,
                        "shadow_output_tokens": other.usage.output_tokens,
                    }
                yield _encode(row)


def _bill_row(record: Record, bill: AttemptBill) -> dict[str, object]:
    """Return one call of a record."""
    return {
        "at_s": record.receipt.at_s,
        "id": f"{record.ask.id}/{bill.call}",
        "session": record.ask.session,
        "task": record.ask.task,
        "tenant": record.ask.tenant,
        "model": bill.deployment,
        "input_tokens": bill.usage.input_tokens,
        "cached_tokens": bill.usage.cached_tokens,
        "output_tokens": bill.usage.output_tokens,
        "reasoning_tokens": bill.usage.reasoning_tokens,
        "cost_usd": bill.tokens_usd,
        "seconds": bill.seconds,
        "status": "error" if bill.failure is not None else 200,
        "lane": record.signals.lane,
        "tools": "tools" in record.ask.needs,
    }
