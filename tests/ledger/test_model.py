"""Whatever is done to them, the ledgers on disk say what the one in memory says."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from metabolic import plugins
from metabolic.core.ports import Ledger
from metabolic.testing.examples import example_record, example_settlement

_NUMBERS = st.integers(min_value=0, max_value=12)
_TIMES = st.floats(min_value=0.0, max_value=1000.0)


class _Agreement(RuleBasedStateMachine):
    """Drives a ledger on disk and the one in memory alike."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._path = str(Path(self._directory.name) / "ledger")
        self.real = self._open()
        self.fake: Ledger = plugins.ledger("memory")
        self.times: dict[int, float] = {}

    def _open(self) -> Ledger:
        # Test times are near 1970; the clock of retention is not.
        table: dict[str, object] = {"path": self._path, "retention_days": 1e6, "flush_s": 0.0005}
        return plugins.ledger(self.kind, table)

    @rule(number=_NUMBERS, at_s=_TIMES)
    def append(self, number: int, at_s: float) -> None:
        at_s = self.times.setdefault(number, at_s)
        for ledger in (self.real, self.fake):
            ledger.append(example_record(number, at_s=at_s))

    @rule(number=_NUMBERS, factor=st.floats(min_value=0.0, max_value=10.0))
    def settle(self, number: int, factor: float) -> None:
        for ledger in (self.real, self.fake):
            ledger.settle(example_settlement(example_record(number), factor=factor))

    @rule(number=_NUMBERS)
    def put(self, number: int) -> None:
        for ledger in (self.real, self.fake):
            ledger.put(f"digest-{number}", bytes([number]) * 20)

    @rule(number=_NUMBERS)
    def read_one(self, number: int) -> None:
        request_id = example_record(number).ask.id
        assert self.real.record(request_id) == self.fake.record(request_id)
        assert self.real.blob(f"digest-{number}") == self.fake.blob(f"digest-{number}")

    @rule(since_s=_TIMES, until_s=_TIMES)
    def read_some(self, since_s: float, until_s: float) -> None:
        real = sorted(self.real.records(since_s, until_s), key=lambda one: one.ask.id)
        fake = sorted(self.fake.records(since_s, until_s), key=lambda one: one.ask.id)
        assert real == fake

    @rule()
    def open_again(self) -> None:
        self.real.close()
        self.real = self._open()

    @invariant()
    def nothing_is_lost(self) -> None:
        seen = dict(self.real.counters())
        assert seen["dropped"] == seen["failed"] == seen["spooled"] == 0

    def teardown(self) -> None:
        real = [one.ask.at_s for one in self.real.records()]
        assert real == [one.ask.at_s for one in self.fake.records()] == sorted(real)
        self.real.close()
        self._directory.cleanup()


class SqliteAgreement(_Agreement):
    """SQLite against memory."""

    kind = "sqlite"


class JsonlAgreement(_Agreement):
    """Lines of JSON against memory."""

    kind = "jsonl"


_SETTINGS = settings(max_examples=12, stateful_step_count=20, deadline=None)
TestSqlite = SqliteAgreement.TestCase
TestSqlite.settings = _SETTINGS
TestJsonl = JsonlAgreement.TestCase
TestJsonl.settings = _SETTINGS
