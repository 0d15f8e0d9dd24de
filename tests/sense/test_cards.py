"""Graphics cards are read away from the probe, and one that hangs hangs nobody."""

import threading

from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.sense.cards import CardSensor, Fields
from metabolic.testing.sensors import check_sensor

ABSENT = Obstacle(kind="absent", what="none")


class _Card:
    name = "amd0"

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.threads: set[str] = set()
        self.closed = False

    def asleep(self) -> bool | None:
        return None

    def dozes(self) -> bool:
        return False

    def look(self, now_s: float) -> tuple[Fields, Fields]:
        del now_s
        self.threads.add(threading.current_thread().name)
        self.go_on.wait(20)
        watts = Reading(value=7.0, origin="measured", source="card")
        return {"temperature_c": watts}, {"power_w": watts}

    def obstacles(self) -> tuple[Obstacle, ...]:
        return (Obstacle(kind="driver", what="old"),)

    def close(self) -> None:
        self.closed = True


def _sensor(*cards: _Card) -> CardSensor:
    return CardSensor(
        lambda: cards, name="amd", root="/", every_s=0.05, rescan_s=60.0, absent=ABSENT
    )


def test_the_cards_of_this_machine_are_read_in_a_thread() -> None:
    card = _Card()
    sensor = _sensor(card)
    state = sensor.read(HardwareState(taken_at_s=1.0))
    for _ in range(40):
        if state.devices:
            break
        assert sensor._background is not None
        sensor._background.wait(1.0)
        state = sensor.read(HardwareState(taken_at_s=1.0))
    assert [device.name for device in state.devices] == ["amd0", "cpu"]
    assert card.threads == {"metabolic-amd"}
    assert "driver" in {one.kind for one in sensor.obstacles()}
    sensor.close()
    assert card.closed


def test_a_card_that_hangs_hangs_nobody() -> None:
    card = _Card()
    card.go_on.clear()
    sensor = _sensor(card)
    assert sensor.read(HardwareState(taken_at_s=1.0)).devices == ()
    assert sensor.read(HardwareState(taken_at_s=1.1)).devices == ()
    assert "stale" in {one.kind for one in sensor.obstacles()}
    card.go_on.set()
    sensor.close()


def test_without_a_card_no_thread_is_started() -> None:
    sensor = _sensor()
    assert sensor.read(HardwareState(taken_at_s=1.0)).devices == ()
    assert sensor._background is None
    assert sensor.obstacles() == (ABSENT,)
    check_sensor(_sensor())
