"""The model catalogue: complete, consistent, and true to the files themselves."""

import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from metabolic.core.errors import StoreError
from metabolic.engines.catalogue import (
    CATALOGUE,
    FLEETS,
    Entry,
    HubSource,
    WheelSource,
    entry_of,
    model_of,
)

SHA256 = re.compile(r"[0-9a-f]{64}")
REVISION = re.compile(r"[0-9a-f]{40}")


def test_the_registry_fleet_is_the_trio_of_known_size() -> None:
    assert [(each, entry_of(each).size_bytes) for each in FLEETS["registry"]] == [
        ("smollm2-135m-instruct", 98_362_432),
        ("qwen2.5-coder-0.5b-instruct", 491_400_064),
        ("qwen2.5-coder-1.5b-instruct", 1_117_320_768),
    ]


def test_the_general_fleet_comes_from_the_makers_own_repositories() -> None:
    for model_id in FLEETS["general"]:
        (source,) = entry_of(model_id).sources
        assert isinstance(source, HubSource)
        assert source.repo.split("/")[0] in {"HuggingFaceTB", "Qwen"}
        assert "coder" not in source.file


def test_every_model_of_the_registry_fleet_needs_no_hub() -> None:
    for model_id in FLEETS["registry"]:
        assert isinstance(entry_of(model_id).sources[-1], WheelSource)


def test_fleets_go_from_small_to_large_and_hold_every_model_once() -> None:
    for ids in FLEETS.values():
        sizes = [entry_of(each).size_bytes for each in ids]
        assert sizes == sorted(sizes)
    listed = [each for ids in FLEETS.values() for each in ids]
    assert sorted(listed) == sorted(entry.id for entry in CATALOGUE)


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.id)
def test_every_digest_and_revision_is_pinned_in_full(entry: Entry) -> None:
    assert SHA256.fullmatch(entry.sha256)
    for source in entry.sources:
        if isinstance(source, HubSource):
            assert REVISION.fullmatch(source.revision)
            continue
        assert all(SHA256.fullmatch(part.sha256) for part in source.parts)
        assert len({part.sha256 for part in source.parts}) == len(source.parts)


def test_files_and_ids_are_unique() -> None:
    assert len({entry.id for entry in CATALOGUE}) == len(CATALOGUE)
    assert len({entry.file for entry in CATALOGUE}) == len(CATALOGUE)
    assert len({entry.sha256 for entry in CATALOGUE}) == len(CATALOGUE)


def test_the_tier_follows_from_active_parameters() -> None:
    for entry in CATALOGUE:
        assert entry.tier == ("tiny" if entry.active_parameters < 1e9 else "small")


def test_a_model_of_the_core_carries_the_same_facts() -> None:
    entry = entry_of("qwen2.5-coder-1.5b-instruct")
    model = model_of("qwen2.5-coder-1.5b-instruct")
    assert (model.id, model.tier, model.file_bytes) == (entry.id, "small", entry.size_bytes)
    assert (model.layers, model.kv_heads, model.head_dim) == (28, 2, 128)
    assert (model.context_tokens, model.quantisation) == (32_768, "Q4_K_M")
    assert model.licence == "Apache-2.0"


def test_an_unknown_model_is_told_which_there_are() -> None:
    with pytest.raises(StoreError, match=r'has no "gpt-9"; it has: smollm2-360m-instruct, '):
        model_of("gpt-9")


@pytest.mark.real
def test_the_figures_are_those_in_the_files_headers(real_models: dict[str, Path]) -> None:
    for model_id, path in real_models.items():
        entry = entry_of(model_id)
        with path.open("rb") as file:
            facts, elements = header(file)
        kind = facts["general.architecture"]
        heads = facts[f"{kind}.attention.head_count"]
        assert facts[f"{kind}.block_count"] == entry.layers
        assert facts[f"{kind}.context_length"] == entry.context_tokens
        assert facts[f"{kind}.attention.head_count_kv"] == entry.kv_heads
        assert facts[f"{kind}.embedding_length"] == entry.head_dim * heads
        tied = elements.get("output.weight", 0)
        assert sum(elements.values()) - tied == entry.total_parameters


SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""GGUF value types that are one number. Source: ggml, docs/gguf.md."""


def header(file: BinaryIO) -> tuple[dict[str, Any], dict[str, int]]:
    """Return a GGUF file's facts and how many elements each of its tensors has."""
    assert file.read(4) == b"GGUF"
    _, tensors, pairs = number(file, "I"), number(file, "Q"), number(file, "Q")
    facts = {text(file): value(file, number(file, "I")) for _ in range(pairs)}
    elements: dict[str, int] = {}
    for _ in range(tensors):
        name, product = text(file), 1
        for _ in range(number(file, "I")):
            product *= number(file, "Q")
        file.seek(12, 1)  # type and offset
        elements[name] = product
    return facts, elements


def number(file: BinaryIO, code: str) -> Any:
    return struct.unpack("<" + code, file.read(struct.calcsize("<" + code)))[0]


def text(file: BinaryIO) -> str:
    return file.read(number(file, "Q")).decode(errors="replace")


def value(file: BinaryIO, kind: int) -> Any:
    if kind == 8:
        return text(file)
    if kind == 9:
        inner, count = number(file, "I"), number(file, "Q")
        return [value(file, inner) for _ in range(count)]
    return number(file, SCALARS[kind])
