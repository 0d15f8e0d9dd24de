"""A runtime takes certificates from its configuration, and drops one that has drifted."""

from pathlib import Path

from metabolic.calibrate.fit import Asked, fit
from metabolic.calibrate.rows import Labelled
from metabolic.config import parse
from metabolic.config.certificates import write_certificates
from metabolic.wiring import build


def test_a_drifted_lane_is_taken_out_of_force(tmp_path: Path) -> None:
    asked = Asked(labeller="judge", score="s", deployment="small", reference="large")
    made = fit([Labelled(lane="closed_qa", confidence=0.9, loss=0.0)] * 200, asked)
    write_certificates(tmp_path / "c.json", made)
    text = """
        [ledger]
        kind = "memory"
        [sense]
        enabled = false
        [models]
        fleet = "none"
        [[deployment]]
        name = "large"
        base_url = "http://127.0.0.1:9"
        [[certificate]]
        path = "c.json"
    """
    runtime = build(parse(text, source=str(tmp_path / "m.toml")))
    assert [one.lane for one in runtime.watches()] == ["closed_qa"]
    for _ in range(80):
        runtime.label("closed_qa", loss=1.0, propensity=0.01)
    assert runtime.watches()[0].alarm
    assert runtime._chooser.policy.alarms == ("closed_qa",)
