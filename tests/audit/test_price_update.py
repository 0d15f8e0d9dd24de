"""Prices that are fetched: taken when they look whole, refused when they do not."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.audit import price_update
from metabolic.audit.price_update import kept_path, update
from metabolic.audit.prices import Entry, PriceFile, read_prices, shipped_prices
from metabolic.cli.main import main
from metabolic.core.errors import ConfigError

NOW_S = 1_795_000_000.0


def litellm(**changes: object) -> dict[str, object]:
    """A table as LiteLLM writes it, with the prices that come along."""
    table: dict[str, object] = {
        one.model: {
            "mode": "chat",
            "input_cost_per_token": one.input / 1e6,
            "output_cost_per_token": one.output / 1e6,
            "cache_read_input_token_cost": None if one.cached is None else one.cached / 1e6,
        }
        for one in shipped_prices().price
    }
    return table | {"sample_spec": {"mode": "one of: chat"}, "dall-e": {"mode": "image"}} | changes


def row(asked: float, answered: float) -> dict[str, object]:
    return {"mode": "chat", "input_cost_per_token": asked, "output_cost_per_token": answered}


def written(path: Path, table: object) -> str:
    path.write_text(json.dumps(table), encoding="utf-8")
    return str(path)


def test_a_whole_table_is_kept_dated_and_goes_before_what_came_along(tmp_path):
    source = written(
        tmp_path / "new.json", litellm(**{"gpt-4o": row(2e-6, 8e-6), "new-one": row(1e-6, 2e-6)})
    )
    to = tmp_path / "data" / "prices.toml"
    made = update(source, to=to, now_s=NOW_S)
    assert made.as_of == "2026-11-18"
    assert made.added == 1
    assert made.skipped == 2
    assert made.changed == ("gpt-4o: 2.5 / 10 → 2 / 8",)
    table = read_prices(kept=to)
    found = table.find("openai/gpt-4o-2024-08-06")
    assert found is not None
    assert (found.input, found.output, found.cheaper) == (2, 8, "gpt-4o-mini")
    assert table.find("new-one") is not None
    assert "2026-11-18" in table.as_of
    own = tmp_path / "own.toml"
    own.write_text('as_of = "x"\n[[price]]\nmodel = "gpt-4o"\ninput = 7\noutput = 7\n')
    first = read_prices(own, kept=to).find("gpt-4o")
    assert first is not None
    assert first.input == 7


def test_a_table_of_ours_keeps_its_own_date(tmp_path):
    source = tmp_path / "ours.toml"
    lines = [
        f'{{ model = "{one.model}", input = {one.input}, output = {one.output} }}'
        for one in shipped_prices().price
    ]
    source.write_text(f'as_of = "2026-12-01"\nsource = "us"\nprice = [{", ".join(lines)}]\n')
    assert update(str(source), to=tmp_path / "p.toml", now_s=NOW_S).as_of == "2026-12-01"


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({}, "too few"),
        ([1], "no table of prices"),
        ({"gpt-4o": row(1e-6, 2e-6)}, "too few"),
        (litellm(bad=row(-1e-6, 2e-6)), "outside 0"),
        (litellm(bad=row(1.0, 1.0)), "outside 0"),
        (
            {name: row(1.5, 6.0) for name in litellm()},
            "outside 0",
        ),
        (
            {one.model: row(one.input / 1e9, one.output / 1e9) for one in shipped_prices().price},
            "other units",
        ),
    ],
)
def test_a_broken_table_is_refused_and_the_old_one_stays(tmp_path, table, why):
    to = tmp_path / "prices.toml"
    update(written(tmp_path / "good.json", litellm()), to=to, now_s=NOW_S)
    before = to.read_bytes()
    with pytest.raises(ConfigError, match=why):
        update(written(tmp_path / "bad.json", table), to=to, now_s=NOW_S)
    assert to.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "bad.json",
        "good.json",
        "prices.toml",
    ]


@pytest.mark.parametrize("source", ["/nowhere/at/all.json", "http://prices.example/x", "ftp://x/y"])
def test_what_cannot_be_read_or_is_not_safe_is_refused(tmp_path, source):
    with pytest.raises(ConfigError):
        update(source, to=tmp_path / "p.toml", now_s=NOW_S)


def test_it_is_fetched_from_an_address_and_nothing_is_sent_but_the_request(tmp_path):
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("cookie")))
            body = json.dumps(litellm()).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - its name

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        made = update(
            f"http://127.0.0.1:{server.server_port}/p.json", to=tmp_path / "p", now_s=NOW_S
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert seen == [("/p.json", None)]
    assert made.source == "LiteLLM's table (MIT), p.json"


def test_the_command_updates_shows_and_audits_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    source = written(tmp_path / "new.json", litellm(**{"gpt-4o": row(2e-6, 8e-6)}))
    for words in (["update", "--from", source], ["show", "gpt-4o"], ["show"]):
        with pytest.raises(SystemExit) as left:
            main(["prices", *words])
        assert left.value.code == 0
    assert kept_path() == tmp_path / "metabolic" / "prices.toml"
    said = capsys.readouterr().out
    assert "gpt-4o: 2.5 / 10 → 2 / 8" in said
    with pytest.raises(SystemExit) as left:
        main(["prices", "show", "nobody"])
    assert left.value.code == 2


names = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=30)


@settings(max_examples=40)
@given(st.dictionaries(names, st.floats(0.001, 900), max_size=8), names)
def test_whatever_models_are_called_they_are_read_as_they_were_written(found, source):
    entries = tuple(Entry(model=name, input=usd, output=usd) for name, usd in found.items())
    table = PriceFile(as_of="2026-11-18", source=source, price=entries)
    assert msgspec.toml.decode(price_update._toml(table), type=PriceFile) == table
