"""Records kept in the repository replay exactly; a change of behaviour shows here first.

When a change is meant, raise ``DECISION_VERSION``, write the records anew and look at the diff:
``METABOLIC_WRITE_RECORDS=1 pytest tests/replay/test_golden.py``.
"""

import os
from pathlib import Path

from metabolic import plugins
from metabolic.replay.verify import verify
from metabolic.testing.records import fill_ledger

_PATH = Path(__file__).parents[1] / "records" / "line.jsonl"
_COUNT = 24


def _write() -> None:
    _PATH.unlink(missing_ok=True)
    ledger = plugins.ledger("jsonl", {"path": str(_PATH)})
    fill_ledger(ledger, _COUNT)
    ledger.close()
    _PATH.chmod(0o644)


def test_recorded_decisions_replay_exactly() -> None:
    if os.environ.get("METABOLIC_WRITE_RECORDS"):
        _write()
    report = verify(plugins.ledger("jsonl", {"path": str(_PATH), "read_only": True}))
    assert report.differences == ()
    assert (report.equal, report.other_version, report.unverifiable) == (_COUNT, 0, 0)
