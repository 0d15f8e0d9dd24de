"""Memory arithmetic against published sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.decide.capacity import (
    CACHE_BYTES,
    Cache,
    Shape,
    answers_that_fit,
    cache_bytes,
    fragmentation_ratio,
    holds,
    need,
    token_bytes,
    weight_bytes,
    weights_read_ratio,
)

GIB = 2**30
LLAMA_70B = Shape(layers=80, kv_heads=8, head_dim=128)
DEEPSEEK_V3 = Shape(layers=61, latent_dim=576)
GEMMA_27B = Shape(layers=10, window_layers=52, window_tokens=1024, kv_heads=16, head_dim=128)


@pytest.mark.parametrize(
    ("shape", "kib"),
    [
        (LLAMA_70B, 320.0),
        (Shape(layers=32, kv_heads=8, head_dim=128), 128.0),
        (Shape(layers=32, kv_heads=32, head_dim=128), 512.0),
        (Shape(layers=48, kv_heads=4, head_dim=128), 96.0),
        (DEEPSEEK_V3, 68.625),
    ],
)
def test_bytes_of_a_token_are_those_published(shape, kib):
    assert token_bytes(shape) / 1024 == kib


@pytest.mark.parametrize(
    ("tokens", "answers", "gib"), [(131072, 1, 40), (4096, 32, 40), (2048, 64, 40), (32768, 8, 80)]
)
def test_only_tokens_in_the_cache_matter(tokens, answers, gib):
    assert cache_bytes(LLAMA_70B, tokens, answers=answers) == gib * GIB


def test_a_quantised_cache_is_smaller_by_its_own_ratio():
    whole = cache_bytes(LLAMA_70B, 131072)
    assert cache_bytes(LLAMA_70B, 131072, number_bytes=CACHE_BYTES["fp8"]) == whole / 2
    assert cache_bytes(LLAMA_70B, 131072, number_bytes=CACHE_BYTES["q4_0"]) / GIB == pytest.approx(
        11.25
    )


def test_a_sliding_window_stops_growing_and_a_state_never_grows():
    short, long_ = cache_bytes(GEMMA_27B, 1024), cache_bytes(GEMMA_27B, 2048)
    assert long_ - short == 1024 * token_bytes(GEMMA_27B)
    mamba = Shape(layers=0, state_bytes=5_000_000)
    assert cache_bytes(mamba, 10) == cache_bytes(mamba, 100_000) == 5_000_000


def test_blocks_are_whole_and_their_waste_is_small_for_long_answers():
    assert cache_bytes(LLAMA_70B, 17, block=16) == cache_bytes(LLAMA_70B, 32)
    assert fragmentation_ratio((1,), block=16) == pytest.approx(15 / 16)
    assert fragmentation_ratio(tuple(range(500, 1500, 7))) < 0.04


def test_experts_are_all_in_memory_but_not_all_read():
    assert weight_bytes(30_000_000_000, number_bytes=1.0) == 30e9
    assert weights_read_ratio(30, 3, 1) == pytest.approx(0.1)
    assert weights_read_ratio(30, 3, 64) > 0.99
    assert weights_read_ratio(8, 8, 1) == 1.0


def test_answers_that_fit_are_whole_ones():
    assert answers_that_fit(40.5 * GIB, LLAMA_70B, 4096) == 32
    assert answers_that_fit(-1.0, LLAMA_70B, 4096) == 0


@given(st.integers(1, 10_000), st.integers(1, 64), st.integers(1, 64))
def test_more_tokens_never_take_less(tokens, answers, block):
    one = cache_bytes(GEMMA_27B, tokens, answers=answers, block=block)
    more = cache_bytes(GEMMA_27B, tokens + 1, answers=answers, block=block)
    assert cache_bytes(GEMMA_27B, tokens, answers=answers) <= one <= more


def test_a_cache_is_counted_in_blocks_of_tokens_or_in_bytes_of_its_shape():
    plain = Cache(block=16)
    assert (need(plain, 1), need(plain, 16), need(plain, 17)) == (16, 16, 32)
    assert (holds(plain, 1000), holds(plain, None)) == (1000, None)
    shaped = Cache(shape=Shape(layers=80, kv_heads=8, head_dim=128), block=16)
    assert need(shaped, 4096) == 4096 * 320 * 1024
    assert holds(shaped, 4096) == 4096 * 320 * 1024
    assert holds(replace(shaped, memory_bytes=7), 4096) == 7
    assert holds(replace(shaped, tokens=16), 4096) == 16 * 320 * 1024


def test_a_window_and_a_state_take_no_more_however_long_the_answer():
    shape = Shape(layers=0, kv_heads=8, head_dim=128, window_layers=4, window_tokens=1024)
    windowed = Cache(shape=shape)
    assert need(windowed, 1024) == need(windowed, 100_000)
    state = Cache(shape=Shape(layers=0, state_bytes=5000))
    assert need(state, 10) == need(state, 10_000) == 5000
