"""What clients say of answers."""

import json

import pytest

from metabolic.gateway.app import App
from metabolic.testing.asgi import Client
from metabolic.testing.examples import example_record
from metabolic.testing.runtime import FakeRuntime

pytestmark = pytest.mark.anyio


@pytest.fixture
def runtime() -> FakeRuntime:
    made = FakeRuntime()
    made.receipts["r1"] = example_record().receipt
    return made


async def send(runtime: FakeRuntime, **body: object):
    client = Client(App(runtime))
    return await client.request("POST", "/v1/feedback", json.dumps(body).encode())


@pytest.mark.parametrize("said", [{"correct": False}, {"score": 0.5}, {"preferred": "tie"}])
async def test_a_label_is_kept_once(runtime, said) -> None:
    first = await send(runtime, id="r1", **said)
    assert (first.status, json.loads(first.body)) == (202, {"id": "r1", "kept": True})
    again = await send(runtime, id="r1", **said)
    assert (again.status, json.loads(again.body)) == (200, {"id": "r1", "kept": False})
    assert len(runtime.labels) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"id": "r1"},
        {"id": "r1", "correct": True, "score": 1.0},
        {"id": "r1", "score": 1.5},
        {"id": "r1", "preferred": "mine"},
        {"id": "r1", "correct": "yes"},
        {"id": "r 1", "correct": True},
        {"correct": True},
        {"id": "r1", "correct": True, "why": "text"},
    ],
)
async def test_what_is_no_label_is_refused(runtime, body) -> None:
    answered = await send(runtime, **body)
    assert answered.status == 400
    assert runtime.labels == {}


async def test_an_answer_nobody_knows_is_404(runtime) -> None:
    assert (await send(runtime, id="other", correct=True)).status == 404


async def test_only_post_is_allowed(runtime) -> None:
    answered = await Client(App(runtime)).get("/v1/feedback")
    assert (answered.status, answered.headers["allow"]) == (405, "POST, OPTIONS")
