"""The page's paths, who may read its data, and where it is."""

import json

import pytest

from metabolic.config import parse
from metabolic.core.errors import ConfigError
from metabolic.gateway.app import App
from metabolic.testing.asgi import Client
from metabolic.testing.runtime import FakeRuntime

pytestmark = pytest.mark.anyio

HERE = {"host": "127.0.0.1:8080"}
KEY = '[[key]]\nname = "ops"\nsha256 = "' + "ab" * 32 + '"\n'


def client(text: str = "") -> Client:
    return Client(App(FakeRuntime(parse(text, source="test.toml"))))


def beside(text: str = "") -> Client:
    return Client(App(FakeRuntime(parse(text, source="test.toml"))).side)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/ui", "text/html"),
        ("/ui/page.js", "text/javascript"),
        ("/ui/charts.js", "text/javascript"),
        ("/ui/page.css", "text/css"),
        ("/ui/uplot.min.js", "text/javascript"),
        ("/ui/icon.svg", "image/svg+xml"),
    ],
)
async def test_files_come_with_a_strict_policy_and_nothing_inline(path, kind):
    got = await client().get(path)
    assert got.status == 200
    assert got.headers["content-type"].startswith(kind)
    policy = got.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert got.headers["x-content-type-options"] == "nosniff"
    text = got.body.decode()
    assert "onclick=" not in text
    assert "style=" not in text or kind == "text/javascript"


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "uplot.LICENSE", "page.html/", "x"])
async def test_no_other_file_can_be_had(name):
    assert (await client().get(f"/ui/{name}", **HERE)).status == 404


async def test_the_state_has_the_requests_and_what_is_unknown_is_null():
    made = client()
    await made.chat()
    made = Client(made.app)
    got = (await made.get("/ui/state", **HERE)).json
    assert got["totals"]["requests"] == 1
    assert got["requests"][0]["deployment"] == "small"
    assert got["requests"][0]["remote_energy_j"] is None
    assert got["machine"]["time_to_throttle_s"] is None
    assert {one["name"] for one in got["fleet"]} == {"small", "large"}
    assert got["saved"][0]["ratio"] is None


async def test_one_request_opens_and_holds_no_text():
    made = client()
    asked = await made.chat(messages=[{"role": "user", "content": "a very private question"}])
    identity = asked.headers["metabolic-decision"]
    got = await Client(made.app).get(f"/ui/requests/{identity}", **HERE)
    assert got.json["receipt"]["id"] == identity
    assert b"private" not in got.body
    assert got.headers["cache-control"] == "no-store"
    missing = await Client(made.app).get("/ui/requests/mr-none", **HERE)
    assert missing.status == 404


async def test_only_the_last_requests_are_kept_and_none_without_the_page():
    app = App(FakeRuntime(parse("[admin]\npage = false\n", source="test.toml")))
    await Client(app).chat()
    assert not app.inference.recent
    assert (await Client(app).get("/ui")).status == 404
    assert App(FakeRuntime()).inference.recent.maxlen == 500


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {},
        {"host": "127.0.0.1", "origin": "http://evil.example"},
        {"host": "127.0.0.1", "sec_fetch_site": "cross-site"},
        {"host": "127.0.0.1", "sec_fetch_site": "same-site"},
        {"host": "[broken"},
    ],
)
async def test_another_sites_page_cannot_read_the_data(headers):
    got = await client().get("/ui/state", **headers)
    assert got.status == 403
    assert b"requests" not in got.body


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080"])
async def test_this_machines_own_page_can(host):
    assert (await client().get("/ui/state", host=host, sec_fetch_site="same-origin")).status == 200


async def test_where_clients_have_keys_the_page_is_not_on_their_listener():
    got = await client(KEY).get("/ui")
    assert got.status == 404
    assert "[admin]" in got.error["message"]
    public = '[server]\nhost = "0.0.0.0"\n' + KEY
    assert (await client(public).get("/ui/state", **HERE)).status == 404
    assert (await client("[admin]\nport = 9000\n").get("/ui")).status == 404


async def test_the_admin_listener_has_what_operators_read_and_no_inference():
    text = "[admin]\nport = 9000\n" + KEY
    assert (await beside(text).get("/health")).status == 200
    assert (await beside(text).get("/")).headers["location"] == "/ui"
    assert (await beside(text).get("/ui/")).headers["location"] == "/ui"
    assert (await beside(text).get("/ui")).status == 200
    for path in ("/ui/state", "/ui/requests/mr-1", "/metrics", "/v1/receipts/mr-1"):
        assert (await beside(text).get(path, **HERE)).status == 401
    assert (await beside(text).get("/v1/models", **HERE)).status == 404
    asked = await beside(text).request("POST", "/v1/chat/completions", json.dumps({}).encode())
    assert asked.status == 405


async def test_many_viewers_cost_as_much_as_one():
    made = client()
    first = await made.get("/ui/state", **HERE)
    await Client(made.app).chat()
    second = await Client(made.app).get("/ui/state", **HERE)
    assert second.body == first.body


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[admin]\nhost = "0.0.0.0"\n', "[admin] host"),
        ("[admin]\nport = 8080\n", "[admin] port"),
        ("[admin]\nport = 70000\n", "[admin] port"),
    ],
)
async def test_an_admin_listener_that_cannot_be_is_refused_at_start(text, key):
    with pytest.raises(ConfigError, match=key.replace("[", r"\[").replace("]", r"\]")):
        parse(text, source="test.toml")
