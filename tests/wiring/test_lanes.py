"""The table of lanes with its files, and in a running gateway."""

import json
import urllib.error
import urllib.request
from typing import Any

import msgspec
import pytest

from metabolic.cli.main import app
from metabolic.config import parse
from metabolic.core.attempt import Answer
from metabolic.core.decision import Stage
from metabolic.core.errors import ConfigError
from metabolic.core.lanes import LanePin
from metabolic.core.signals import Signals
from metabolic.decide.evidence_labels import label_of
from metabolic.execute.clock import RealClock
from metabolic.execute.lane_state import Feedback
from metabolic.execute.vigil import Vigil
from metabolic.testing.examples import example_record
from metabolic.testing.fakeserver import serve_in_thread
from metabolic.testing.gateway import config_for, gateway_in_thread
from metabolic.wiring.lane_files import LaneFiles
from metabolic.wiring.lanes import Lanes

VIGIL = Vigil((), alarm=lambda _: None)


def text_of(tmp_path, more: str = "") -> str:
    return f'[ledger]\nkind = "sqlite"\npath = "{tmp_path}/ledger.sqlite"\n{more}'


def lanes_of(tmp_path, more: str = "[lanes]\nmode = 'route'\nmin_labels = 1\n"):
    told: list[Any] = []
    config = parse(text_of(tmp_path, more), source="test.toml")
    return Lanes(config, clock=RealClock(), publish=told.append), told


def record_of(tenant: str | None):
    one, replace = example_record(), msgspec.structs.replace
    return replace(
        one,
        ask=replace(one.ask, id="r1", tenant=tenant, task=None),
        signals=Signals(task="open_qa", lane="open_qa"),
        decision=replace(one.decision, stages=(Stage(deployment="m"),), arms=()),
        receipt=replace(one.receipt, answer=Answer(call="c0", deployment="m")),
    )


def test_a_label_is_written_down_once_and_counts(tmp_path):
    lanes, told = lanes_of(tmp_path)
    given, record = Feedback(id="r1", correct=True), record_of("t")
    assert lanes.feedback(given, "t", record, vigil=VIGIL) is True
    assert lanes.feedback(given, "t", record, vigil=VIGIL) is False
    (line,) = (tmp_path / "ledger.labels.jsonl").read_text().splitlines()
    assert json.loads(line)["correct"] == 1.0
    lanes.turn()
    again, told = lanes_of(tmp_path)
    assert told[-1].tallies[0].labels == 1.0
    assert again.feedback(given, "t", record, vigil=VIGIL) is False


@pytest.mark.parametrize("tenant", [None, "other"])
def test_only_the_tenant_who_asked_may_label(tmp_path, tenant):
    lanes, _ = lanes_of(tmp_path)
    given = Feedback(id="r1", correct=False)
    assert lanes.feedback(given, tenant, record_of("t"), vigil=VIGIL) is None
    assert lanes.feedback(given, tenant, None, vigil=VIGIL) is None
    assert not (tmp_path / "ledger.labels.jsonl").exists()


def test_pins_of_command_and_configuration_are_in_force(tmp_path, capsys):
    path = tmp_path / "metabolic.toml"
    path.write_text(text_of(tmp_path, '[[lane]]\nname = "open_qa"\ndeployment = "a"\n'))
    config = ["--config", str(path)]
    assert app(["lanes", "--pin", "rewrite", "b:low", *config, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {one["lane"]: one["deployment"] for one in shown["pins"]} == {
        "open_qa": "a",
        "rewrite": "b",
    }
    _, told = lanes_of(tmp_path, '[[lane]]\nname = "open_qa"\ndeployment = "a"\n')
    assert told[-1].pins == (
        LanePin(lane="open_qa", deployment="a"),
        LanePin(lane="rewrite", deployment="b", variant="low"),
    )
    assert app(["lanes", "--unpin", "rewrite", *config]) == 0
    assert "open_qa" in capsys.readouterr().out
    assert LaneFiles(parse(text_of(tmp_path), source="x")).pins() == ()
    with pytest.raises(ConfigError, match='"rewrite" is not pinned here; pinned are: none'):
        app(["lanes", "--unpin", "rewrite", *config])


def test_without_labels_and_pins_no_table_is_in_force(tmp_path):
    _, told = lanes_of(tmp_path)
    assert told == [None]


def test_a_memory_ledger_keeps_no_pins(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text('[ledger]\nkind = "memory"\n')
    with pytest.raises(ConfigError, match="pins could not be kept"):
        app(["lanes", "--pin", "a", "b", "--config", str(path)])


def test_a_pin_to_nobody_is_a_mistake():
    text = config_for({"up": ("http://127.0.0.1:9/v1", "m")})
    with pytest.raises(ConfigError, match="is no deployment"):
        parse(text + '[[lane]]\nname = "*"\ndeployment = "gone"\n', source="t")


def post(url: str, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
    made = urllib.request.Request(  # noqa: S310 - loopback
        url, json.dumps(body).encode(), {"content-type": "application/json"} | headers
    )
    try:
        with urllib.request.urlopen(made, timeout=10) as got:  # noqa: S310 - loopback
            return got.status, {**json.loads(got.read()), "id_": got.headers["x-request-id"]}
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def test_feedback_end_to_end():
    with serve_in_thread() as up:
        more = '[lanes]\nmode = "route"\nmin_labels = 1\n'
        text = config_for({"a": (up.base_url, "m"), "b": (up.base_url, "m")}, more=more)
        with gateway_in_thread(text) as running:
            chat = {"model": "auto", "messages": [{"role": "user", "content": "Why is it so?"}]}
            url = f"{running.base_url}/chat/completions"
            status, answer = post(url, chat, **{"metabolic-task": "my-label"})
            assert status == 200
            given = {"id": answer["id_"], "score": 0.75}
            assert post(f"{running.base_url}/feedback", given)[0] == 202
            assert post(f"{running.base_url}/feedback", given)[0] == 200
            runtime: Any = running.server.app.runtime
            runtime._lanes.turn()
            runtime._lanes._tell()
            status, again = post(url, chat, **{"metabolic-task": "my-label"})
            assert runtime.decision(again["id_"]).lane == "my-label@local"
            status, other = post(url, chat)
            assert status == 200
            assert runtime.decision(other["id_"]).lane != "my-label@local"


def test_a_label_outlives_a_process_that_dies_before_its_epoch_ends(tmp_path):
    lanes, _ = lanes_of(tmp_path)
    label = label_of(record_of("t"), at_s=1.0, by="judge", deployment="small", correct=1.0)
    assert lanes.observe(label) is True
    assert lanes.observe(label) is False
    again, told = lanes_of(tmp_path)  # nobody ended an epoch
    again.turn()
    again._tell()
    assert {one.deployment: one.labels for one in told[-1].tallies} == {"small": 1.0}
    again.turn()
    again._tell()
    assert told[-1].tallies[0].labels == 1.0


def test_two_gateways_with_one_folder_add_up_what_they_know(tmp_path):
    more = f'[lanes]\nmode = "route"\nmin_labels = 1\nshare = "{tmp_path}/share"\n'
    told = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        lanes, heard = lanes_of(tmp_path / name, more)
        given = label_of(record_of(None), at_s=1.0, by="judge", deployment=name, correct=1.0)
        lanes.observe(given)
        lanes.turn()
        lanes._tell()
        told.append((lanes, heard))
    first, heard = told[0]
    first.turn()
    first._tell()
    assert heard[-1].tallies == told[1][1][-1].tallies
    assert {one.deployment for one in heard[-1].tallies} == {"a", "b"}
    assert first.view().peers == 1


def test_a_file_of_labels_that_was_tidied_up_is_not_counted_again(tmp_path):
    lanes, told = lanes_of(tmp_path)
    for number in range(3):
        one = msgspec.structs.replace(
            label_of(record_of(None), at_s=1.0, by="judge", correct=1.0), id=f"r{number}"
        )
        lanes.observe(one)
    lanes.turn()
    path = tmp_path / "ledger.labels.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[-1])
    again, told = lanes_of(tmp_path)
    again.turn()
    again._tell()
    assert {one.labels for one in told[-1].tallies} == {3.0}


def test_a_receipt_names_the_variant():
    from metabolic.cli.receipts import _answered_by  # noqa: PLC0415 - one line of the command

    one = example_record().receipt
    replace = msgspec.structs.replace
    attempts = tuple(replace(each, variant="low") for each in one.attempts)
    assert one.answer is not None
    assert f"{one.answer.deployment}:low" in _answered_by(replace(one, attempts=attempts))
