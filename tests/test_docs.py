"""The documentation names every key, command and metric, and its examples work."""

import re
from pathlib import Path

import msgspec
import pytest
from prometheus_client import Metric

from metabolic.cli.bench import BENCHES
from metabolic.cli.main import COMMANDS
from metabolic.config import AdapterTable, Config, load, parse, tables
from metabolic.config.actuators import ActuatorsTable
from metabolic.config.admin import AdminTable
from metabolic.config.cache import CacheTable
from metabolic.config.delivery import DeliveryTable
from metabolic.config.shadow import ShadowTable
from metabolic.config.sleep import SleepTable
from metabolic.config.tasks import TasksTable
from metabolic.gateway.metrics import Metrics
from metabolic.testing.runtime import FakeRuntime

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
MARKDOWN = sorted((*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("examples/**/*.md")))

SECTIONS = {
    "[server]": tables.ServerTable,
    "[admin]": AdminTable,
    "[[key]]": tables.KeyTable,
    "[profile]": tables.ProfileTable,
    "[energy]": tables.EnergyTable,
    "[sense]": tables.SenseTable,
    "[models]": tables.ModelsTable,
    "[engines]": tables.EnginesTable,
    "[capacity]": tables.CapacityTable,
    "[speculation]": tables.SpeculationTable,
    "[[deployment]]": tables.DeploymentTable,
    "[[deployment.variants]]": tables.VariantTable,
    "[deployment.sleep]": SleepTable,
    "[deployment.cache]": CacheTable,
    "[actuators]": ActuatorsTable,
    "[[virtual]]": tables.VirtualTable,
    "[[belief]]": tables.BeliefTable,
    "[routing]": tables.RoutingTable,
    "[lanes]": tables.LanesTable,
    "[[lane]]": tables.PinTable,
    "[shadow]": ShadowTable,
    "[tasks]": TasksTable,
    "[delivery]": DeliveryTable,
    "[ledger]": tables.LedgerTable,
}
KEYS = [
    (section, field)
    for section, struct in SECTIONS.items()
    for field in msgspec.structs.fields(struct)
]


def section_of(name: str) -> str:
    found = re.search(
        rf"^## `{re.escape(name)}`.*?(?=^## |\Z)", CONFIGURATION, re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/configuration.md has no section {name}"
    return found[0]


def written(field: msgspec.structs.FieldInfo) -> str:
    """Return a default as the documentation writes it."""
    if field.required:
        return "required"
    made = field.default_factory
    default = field.default if made is msgspec.NODEFAULT else made()
    if default is None:
        return "unset"
    return f"`{msgspec.json.encode(plain(default)).decode().replace(',', ', ')}`"


def plain(value: object) -> object:
    if isinstance(value, AdapterTable):
        return value.kind
    return [plain(item) for item in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize(("section", "field"), KEYS, ids=lambda x: getattr(x, "name", x))
def test_every_key_is_documented_with_its_default(
    section: str, field: msgspec.structs.FieldInfo
) -> None:
    row = re.search(rf"^\| `{field.name}` \| (.*?) \|", section_of(section), re.MULTILINE)
    assert row, f"{section} {field.name} is not documented"
    assert row[1] == written(field)


@pytest.mark.parametrize("section", SECTIONS)
def test_no_key_is_documented_that_does_not_exist(section: str) -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", section_of(section), re.MULTILINE))
    assert named - set(SECTIONS[section].__struct_fields__) == set()


def test_every_table_is_documented() -> None:
    known = {type(getattr(Config(), name)) for name in Config.__struct_fields__}
    assert {kind for kind in known if kind.__name__.endswith("Table")} <= set(SECTIONS.values())


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.name
)
def test_every_example_configuration_loads(path: Path) -> None:
    names = re.findall(r'"env:(\w+)"', path.read_text(encoding="utf-8"))
    config = load(path, environ=dict.fromkeys(names, "secret"))
    assert config.origins


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_every_configuration_in_the_documentation_loads(path: Path) -> None:
    for block in re.findall(
        r"^```toml\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        names = re.findall(r'"env:(\w+)"', block)
        if not block.lstrip().startswith("[project"):
            parse(block, source=path.name, environ=dict.fromkeys(names, "secret"))


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_python_in_the_documentation_is_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        compile(block, path.name, "exec")


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_every_link_within_the_repository_leads_somewhere(path: Path) -> None:
    text = re.sub(
        r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    inside = [target for target in targets if not re.match(r"[a-z]+:", target)]
    dead = [target for target in inside if not (path.parent / target).exists()]
    assert dead == []


def test_every_command_is_documented() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert [name for name, _, _ in COMMANDS if f"## `metabolic {name}`" not in text] == []


def test_every_decision_record_has_its_four_parts() -> None:
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [path.name[:4] for path in records] == [f"{i:04}" for i in range(1, len(records) + 1)]
    for path in records:
        text = path.read_text(encoding="utf-8")
        for part in ("Status", "Context", "Decision", "Consequences"):
            assert f"## {part}\n" in text, f"{path.name} lacks {part}"


def test_the_agents_page_stays_short() -> None:
    assert len((ROOT / "AGENTS.md").read_text(encoding="utf-8").splitlines()) <= 40


def metric_families() -> list[Metric]:
    return list(Metrics(FakeRuntime(), lambda: 0).registry.collect())


def documented_metrics() -> dict[str, tuple[str, set[str]]]:
    """Return name → (kind, labels) from the tables of docs/metrics.md."""
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(metabolic_\w+)` \| (\w+) \| (.*?) \|", text, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_metric_is_documented_with_its_kind_and_labels() -> None:
    documented = documented_metrics()
    exported = set()
    for family in metric_families():
        if not family.name.startswith("metabolic_"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exported.add(name)
        assert name in documented, name
        kind, labels = documented[name]
        assert kind == family.type, name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} <= labels, name
    assert set(documented) - exported == set()


@pytest.mark.parametrize("name", [name for name, _, _ in BENCHES])
def test_every_benchmark_has_its_section(name: str) -> None:
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    assert f"\n## `metabolic bench {name}`\n" in page
