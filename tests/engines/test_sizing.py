"""What a model takes, and what a machine allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.fleet import LaunchSpec, Model
from metabolic.engines.sizing import (
    Wish,
    kv_bytes_per_token,
    least_bytes,
    needed_bytes,
    size,
    threads_for,
)

SPEC = LaunchSpec(deployment="d", model_path="m", threads=3, embeddings=True, start_timeout_s=9.0)
MODEL = Model(
    id="m",
    tier="tiny",
    context_tokens=32_768,
    layers=24,
    kv_heads=2,
    head_dim=64,
    file_bytes=491_400_064,
)
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("layers", "kv_heads", "head_dim", "expected"),
    [(24, 2, 64, 12_288), (28, 2, 128, 28_672), (30, 3, 64, 23_040), (32, 8, 128, 131_072)],
)
def test_keys_and_values_of_every_layer_are_counted(
    layers: int, kv_heads: int, head_dim: int, expected: int
) -> None:
    model = Model(id="m", tier="small", layers=layers, kv_heads=kv_heads, head_dim=head_dim)
    assert kv_bytes_per_token(model) == expected


def test_a_model_of_unknown_shape_is_taken_for_a_large_one() -> None:
    assert kv_bytes_per_token(Model(id="m", tier="tiny", layers=24)) == 65_536


def test_the_need_is_weights_cache_prompts_and_work_space() -> None:
    need = needed_bytes(MODEL, context_tokens=4096, slots=2, prompt_cache_bytes=MIB)
    assert need == 491_400_064 + 12_288 * 8192 + MIB + 160 * MIB
    assert needed_bytes(Model(id="m", tier="tiny"), context_tokens=1, slots=1) is None


def test_with_enough_memory_the_wish_is_granted_within_the_models_context() -> None:
    wish = Wish(context_tokens=100_000, slots=4)
    sized = size(SPEC, MODEL, room_bytes=10**12, wish=wish)
    assert sized is not None
    assert (sized.context_tokens, sized.slots) == (32_768, 4)
    assert (sized.threads, sized.embeddings, sized.start_timeout_s) == (3, True, 9.0)


def test_slots_go_before_context() -> None:
    wish = Wish(context_tokens=8192, slots=4, prompt_cache_bytes=0)
    room = needed_bytes(MODEL, context_tokens=8192, slots=1)
    sized = size(SPEC, MODEL, room_bytes=room, wish=wish)
    assert sized is not None
    assert (sized.context_tokens, sized.slots) == (8192, 1)
    room = needed_bytes(MODEL, context_tokens=2048, slots=1)
    sized = size(SPEC, MODEL, room_bytes=room, wish=wish)
    assert sized is not None
    assert (sized.context_tokens, sized.slots) == (2048, 1)


def test_the_least_that_is_worth_starting_is_one_slot_of_a_short_context() -> None:
    least = least_bytes(MODEL)
    assert least is not None
    sized = size(SPEC, MODEL, room_bytes=least)
    assert sized is not None
    assert (sized.context_tokens, sized.slots) == (1024, 1)
    assert size(SPEC, MODEL, room_bytes=least - 1) is None


def test_unknown_memory_and_unknown_weights_grant_the_wish() -> None:
    for model, room in ((MODEL, None), (Model(id="m", tier="tiny"), 1)):
        sized = size(SPEC, model, room_bytes=room, wish=Wish(slots=3))
        assert sized is not None
        assert (sized.context_tokens, sized.slots) == (8192, 3)


@given(
    st.integers(0, 4 * 10**9), st.integers(1, 8), st.integers(256, 65_536), st.integers(0, 10**9)
)
def test_what_is_sized_fits_and_is_never_more_than_wished(
    room: int, slots: int, context: int, cache: int
) -> None:
    wish = Wish(slots=slots, context_tokens=context, prompt_cache_bytes=cache)
    sized = size(SPEC, MODEL, room_bytes=room, wish=wish)
    least = least_bytes(MODEL, wish)
    assert least is not None
    assert (sized is None) == (least > room)
    if sized is not None:
        need = needed_bytes(MODEL, context_tokens=sized.context_tokens, slots=sized.slots)
        assert need is not None
        assert need <= room
        assert 1 <= sized.slots <= slots
        assert min(1024, context) <= sized.context_tokens <= min(context, 32_768)


@given(st.integers(0, 64), st.integers(0, 256))
def test_threads_of_all_hot_servers_fit_the_cores_or_are_one_each(hot: int, cores: int) -> None:
    threads = threads_for(hot=hot, cores=cores)
    assert threads == 1 or threads * max(1, hot) <= cores
