"""LiteLLM's spend logs, straight from a real PostgreSQL."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("duckdb", reason="needs the extra audit")
pytest.importorskip("psycopg", reason="needs the extra postgres")

import psycopg

from metabolic.audit.postgres import is_database, shown, table_lines
from metabolic.cli.main import main
from metabolic.core.errors import ConfigError
from metabolic.testing.gateway import free_port

LOGS = Path(__file__).parent / "logs"
pytestmark = pytest.mark.timeout(120)


def tool(name: str) -> str | None:
    found = shutil.which(name)
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return found or (str(places[0]) if places else None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a database that holds the log ``litellm.json`` as LiteLLM's table."""
    initdb, postgres = tool("initdb"), tool("pg_ctl")
    if initdb is None or postgres is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="metabolic-postgres-"))  # pytest's own is root's alone
    who: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv to start PostgreSQL as nobody")
        who = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        folder.chmod(0o777)
    port, data = free_port(), str(folder / "data")

    def do(*words: str) -> None:
        made = subprocess.run(
            [*who, *words], check=False, capture_output=True, cwd=folder, timeout=90, text=True
        )
        assert made.returncode == 0, made.stderr

    do(initdb, "-D", data, "-U", "me", "-A", "trust", "--no-sync", "-E", "UTF8")
    options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
    do(postgres, "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        address = f"postgresql://me@127.0.0.1:{port}/postgres"
        fill(address)
        yield address
    finally:
        do(postgres, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def fill(address: str) -> None:
    """Make the table as LiteLLM's schema has it, as far as it matters here."""
    rows = json.loads((LOGS / "litellm.json").read_text(encoding="utf-8"))
    with psycopg.connect(address) as connection:
        connection.execute("""CREATE TABLE "LiteLLM_SpendLogs" (request_id text PRIMARY KEY,
            model text, spend float8, prompt_tokens int, completion_tokens int,
            "startTime" timestamptz, "endTime" timestamptz, session_id text, cache_hit text,
            metadata jsonb, messages jsonb)""")
        for row in rows:
            fields = {key: row.get(key) for key in (
                "request_id", "model", "spend", "prompt_tokens", "completion_tokens", "startTime",
                "endTime", "session_id", "cache_hit",
            )}  # fmt: skip
            packed = [json.dumps(row.get(key)) for key in ("metadata", "messages")]
            connection.execute(
                'INSERT INTO "LiteLLM_SpendLogs" VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)',
                (*fields.values(), *packed),
            )


def run(capsys, *words: str):
    with pytest.raises(SystemExit) as left:
        main(["audit", *words, "--json"])
    assert left.value.code == 0
    return json.loads(capsys.readouterr().out)


def test_the_table_gives_what_its_export_gives(server, capsys):
    table, export = run(capsys, server), run(capsys, str(LOGS / "litellm.json"))
    assert table["calls"] == export["calls"] == 60
    for name in ("input_tokens", "cached_tokens", "output_tokens", "spent_usd"):
        both = [next(one for one in found["figures"] if one["name"] == name)["value"]
                for found in (table, export)]  # fmt: skip
        assert both[0] == pytest.approx(both[1])
    assert table["chains"] == export["chains"]
    assert table["sources"][0]["path"].startswith("postgresql://127.0.0.1")


def test_files_and_tables_may_be_mixed(server, capsys):
    found = run(capsys, str(LOGS / "usage.csv"), server)
    assert [one["format"] for one in found["sources"]] == ["openai-usage", "litellm"]


def test_nothing_is_written_and_no_password_is_shown(server, capsys):
    with pytest.raises(ConfigError) as refused:
        list(table_lines(server.replace("me@", "me:hush@") + "?table=nothing_here"))
    assert "hush" not in str(refused.value)
    assert "nothing_here" in str(refused.value)
    count = "SELECT count(*) FROM pg_class"
    with psycopg.connect(server, autocommit=True) as connection:
        before = connection.execute(count).fetchone()
        assert sum(1 for _ in table_lines(server)) == 60
        assert connection.execute(count).fetchone() == before


@pytest.mark.parametrize("table", ["a;drop table b", 'x"y', "a.b.c", "9"])
def test_a_tables_name_cannot_be_a_statement(table):
    with pytest.raises(ConfigError, match="no table's name"):
        list(table_lines(f"postgresql://h/db?table={table}&application_name=x".replace(" ", "%20")))


def test_who_does_not_answer_is_named_without_the_password():
    with pytest.raises(ConfigError) as refused:
        list(table_lines(f"postgresql://me:hush@127.0.0.1:{free_port()}/x"))
    assert "hush" not in str(refused.value)
    assert is_database("postgres://x")
    assert not is_database("logs/postgres")
    assert shown("postgres://u:p@h/d?sslmode=require") == "postgres://h/d"
