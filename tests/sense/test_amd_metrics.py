"""AMD's binary table: known versions in full, all others refused."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.sense.amd_metrics import Metrics, parse, version_of

RECORDINGS = Path(__file__).parents[3] / "shared" / "telemetry" / "sysfs" / "lact" / "amd"
SIZES = {
    (1, 0): 80,
    (1, 1): 96,
    (1, 2): 104,
    (1, 3): 120,
    (1, 4): 288,
    (1, 5): 328,
    (1, 6): 1664,
    (1, 7): 2208,
    (1, 8): 3360,
    (2, 0): 120,
    (2, 1): 120,
    (2, 2): 128,
    (2, 3): 152,
    (2, 4): 168,
    (3, 0): 264,
}


def _table(version: tuple[int, int], **fields: tuple[int, str, int]) -> bytes:
    """Return a table that is filled with ones but for ``name=(offset, code, value)``."""
    data = bytearray(b"\xff" * SIZES[version])
    struct.pack_into("<HBB", data, 0, SIZES[version], *version)
    for offset, code, value in fields.values():
        struct.pack_into("<" + code, data, offset, value)
    return bytes(data)


def _known(data: bytes) -> Metrics:
    metrics = parse(data)
    assert metrics is not None
    return metrics


@pytest.mark.parametrize("version", sorted(SIZES))
def test_what_is_not_filled_is_unknown(version: tuple[int, int]) -> None:
    assert _known(_table(version)) == Metrics(version=version)


@pytest.mark.parametrize("version", [(1, 1), (1, 2), (1, 3)])
def test_a_card_s_table_is_in_degrees_percent_and_watts(version: tuple[int, int]) -> None:
    metrics = _known(
        _table(version, edge=(4, "H", 61), hot=(6, "H", 74), load=(16, "H", 98), w=(22, "H", 289))
    )
    assert metrics.temperatures_c == {"edge": 61.0, "junction": 74.0}
    assert (metrics.activity_ratio, metrics.power_w) == (0.98, 289.0)
    assert metrics.energy_j is None


def test_the_oldest_table_begins_with_the_clock() -> None:
    metrics = _known(_table((1, 0), edge=(16, "H", 50), load=(28, "H", 7), w=(34, "H", 33)))
    assert (metrics.temperatures_c, metrics.power_w) == ({"edge": 50.0}, 33.0)


@pytest.mark.parametrize(
    ("version", "energy"), [((1, 4), 24), ((1, 5), 56), ((1, 6), 16), ((1, 7), 24), ((1, 8), 24)]
)
def test_an_accelerator_counts_65536ths_of_a_joule(version: tuple[int, int], energy: int) -> None:
    metrics = _known(
        _table(version, hot=(4, "H", 48), w=(10, "H", 750), joules=(energy, "Q", 65_536 * 3))
    )
    assert (metrics.temperatures_c, metrics.power_w) == ({"junction": 48.0}, 750.0)
    assert metrics.energy_j == 3.0


@pytest.mark.parametrize(
    ("status", "held"),
    [
        (0, ()),
        (1 << 36, ("thermal",)),
        (1 << 47, ("thermal",)),
        (1, ("power_cap",)),
        (1 << 22, ("current",)),
        (1 << 33 | 1 << 4, ("thermal", "power_cap")),
        (1 << 56, ()),
    ],
)
@pytest.mark.parametrize(("version", "offset"), [((1, 3), 112), ((2, 2), 120), ((2, 4), 120)])
def test_what_holds_the_clocks_is_told_by_bits(
    version: tuple[int, int], offset: int, status: int, held: tuple[str, ...]
) -> None:
    assert _known(_table(version, status=(offset, "Q", status))).held_by == held


@pytest.mark.parametrize(("version", "first"), [((1, 6), 36), ((1, 7), 44), ((1, 8), 44)])
def test_an_accelerator_counts_how_long_it_throttled(version: tuple[int, int], first: int) -> None:
    counts = {f"c{i}": (first + 4 * i, "I", 10**i) for i in range(5)}
    metrics = _known(_table(version, **counts))
    assert (metrics.thermal_count, metrics.power_count) == (11_101, 10)


def test_an_apu_before_2_4_tells_no_power_and_no_temperature() -> None:
    metrics = _known(_table((2, 1), gfx=(4, "H", 2500), w=(40, "H", 3401), load=(28, "H", 79)))
    assert metrics == Metrics(version=(2, 1))


def test_an_apu_since_2_4_counts_in_hundredths_and_thousandths() -> None:
    metrics = _known(_table((2, 4), gfx=(4, "H", 6150), w=(40, "H", 14_900), load=(28, "H", 8_800)))
    assert metrics.temperatures_c == {"gfx": 61.5}
    assert (metrics.power_w, metrics.activity_ratio) == (14.9, pytest.approx(0.88))


@pytest.mark.parametrize("version", [(1, 9), (2, 5), (3, 1), (4, 0), (0, 0)])
def test_an_unknown_version_is_refused(version: tuple[int, int]) -> None:
    data = struct.pack("<HBB", 264, *version) + b"\x10" * 260
    assert version_of(data) == version
    assert parse(data) is None


@pytest.mark.parametrize("version", sorted(SIZES))
@pytest.mark.parametrize("more", [-2, 2, 8])
def test_a_table_of_the_wrong_length_is_refused(version: tuple[int, int], more: int) -> None:
    size = SIZES[version] + more
    data = struct.pack("<HBB", size, *version) + b"\x10" * (size - 4)
    assert parse(data) is None


@given(st.binary(max_size=400), st.sampled_from(sorted(SIZES)), st.booleans())
def test_whatever_the_bytes_nothing_is_invented(
    noise: bytes,
    version: tuple[int, int],
    headed: bool,  # noqa: FBT001 - hypothesis draws it
) -> None:
    data = noise
    if headed:
        size = SIZES[version]
        data = struct.pack("<HBB", size, *version) + (noise * size + bytes(size))[: size - 4]
    metrics = parse(data)
    assert headed or metrics is None or len(data) in SIZES.values()
    if metrics is not None:
        assert all(0 <= celsius <= 150 for celsius in metrics.temperatures_c.values())
        assert metrics.activity_ratio is None or 0 <= metrics.activity_ratio <= 1
        assert metrics.power_w is None or 0 <= metrics.power_w <= 5_000
        assert metrics.energy_j is None or metrics.energy_j >= 0


@pytest.mark.parametrize(
    ("name", "version", "celsius", "watts"),
    [("phoenix", (2, 1), {}, None), ("strixpoint", (3, 0), {"gfx": 38.12}, 9.839)],
)
def test_a_recorded_table_is_read(
    name: str, version: tuple[int, int], celsius: dict[str, float], watts: float | None
) -> None:
    path = RECORDINGS / name / "card1" / "device" / "gpu_metrics"
    if not path.is_file():
        pytest.skip("no recordings beside the checkout")
    metrics = _known(path.read_bytes())
    assert metrics.version == version
    assert metrics.temperatures_c == pytest.approx(celsius)
    assert metrics.power_w == (None if watts is None else pytest.approx(watts))
