"""What the documentation tells people to type does what it says."""

import contextlib
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from metabolic.testing.fakeserver import serve_in_thread
from metabolic.testing.gateway import Running, config_for, gateway_in_thread

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "tutorial.md")
ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture(name="gateway", scope="module")
def running_gateway() -> Iterator[Running]:
    """Return a gateway that answers what people are told to ask it."""
    with serve_in_thread() as upstream:
        fleet = {"good": (upstream.base_url, "fake")}
        with gateway_in_thread(config_for(fleet)) as running:
            yield running


def blocks(path: Path, pattern: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return re.findall(pattern, text, re.MULTILINE | re.DOTALL)


def here(text: str, gateway: Running) -> str:
    return text.replace(ADDRESS, gateway.base_url.removesuffix("/v1"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_snippets_run_against_a_gateway(page: Path, gateway: Running) -> None:
    found = blocks(page, r"^```python\n(.*?)^```")
    assert found
    for block in found:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(here(block, gateway), page.name, "exec"), {})  # noqa: S102 - our own page
        assert printed.getvalue().strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_curl_commands_get_an_answer(page: Path, gateway: Running) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    found = blocks(page, r"^    (curl http\S+/chat/completions .*?)\n\n")
    assert found
    for command in found:
        done = subprocess.run(
            ["bash", "-c", here(command, gateway)],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=15,
            check=True,
        )
        body = done.stdout.split("\n\n")[-1] if " -i" in command else done.stdout
        assert json.loads(body)["choices"][0]["message"]["content"]
