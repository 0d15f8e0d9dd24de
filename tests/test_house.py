"""The rules of the house: small files, documented names, honest units, a closed core."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "metabolic"
MODULES = sorted(SOURCE.rglob("*.py"))
CORE = sorted((SOURCE / "core").glob("*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_SUMMARY_CHARS = 94
CATCH_ALL = {"execute/drive.py", "gateway/app.py"}
"""Where ``except Exception`` may stand: the driver of a request, and the outermost handler."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def dotted(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, Function))


def code_lines(node: Function) -> int:
    """Return the lines of a function, its docstring apart."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is None or first is node.body[-1]:
        return lines
    return lines - ((first.end_lineno or first.lineno) - first.lineno + 1)


def public(path: Path) -> Iterator[ast.ClassDef | Function]:
    """Yield public functions and classes, and the public methods of public classes."""
    for node in tree_of(path).body:
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, Function) and not method.name.startswith("_"):
                    yield method


def exported(path: Path) -> list[str] | None:
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)
every_file = pytest.mark.parametrize(
    "path",
    [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)


@every_file
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@every_module
def test_no_function_is_longer_than_40_lines(path: Path) -> None:
    lengths = {node.name: code_lines(node) for node in functions(path)}
    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def test_the_median_function_is_short() -> None:
    lengths = sorted(code_lines(node) for path in MODULES for node in functions(path))
    assert lengths[len(lengths) // 2] <= 12


@every_module
def test_every_public_name_says_what_it_is_in_one_line(path: Path) -> None:
    bad = [] if ast.get_docstring(tree_of(path)) else ["the module"]
    for node in public(path):
        first = (ast.get_docstring(node) or "").split("\n")[0]
        if not first or len(first) > MAX_SUMMARY_CHARS:
            bad.append(node.name)
    assert bad == []


@every_module
def test_every_module_lists_its_public_names(path: Path) -> None:
    names = exported(path)
    if names is None:
        assert path.name in {"__init__.py", "__main__.py"}
        assert not list(public(path))
        return
    defined = {
        node.name
        for node in tree_of(path).body
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_")
    }
    module = importlib.import_module(dotted(path))
    assert [name for name in names if not hasattr(module, name)] == []
    assert len(set(names)) == len(names)
    assert sorted(defined - set(names)) == []


@every_module
def test_nothing_is_caught_that_is_not_understood(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        assert node.type is not None, f"line {node.lineno}: bare except"
        caught = {ast.unparse(part) for part in ast.walk(node.type) if isinstance(part, ast.Name)}
        if caught & {"Exception", "BaseException"}:
            last = node.body[-1]
            cleans_up = isinstance(last, ast.Raise) and last.exc is None
            assert cleans_up or name_of(path) in CATCH_ALL, f"line {node.lineno}: too wide"


@every_module
def test_there_are_no_boolean_positionals_and_no_mutable_defaults(path: Path) -> None:
    for node in functions(path):
        defaults = [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]
        bad = [ast.unparse(d) for d in defaults if isinstance(d, ast.List | ast.Dict | ast.Set)]
        bad += [
            ast.unparse(d)
            for d in node.args.defaults
            if isinstance(d, ast.Constant) and isinstance(d.value, bool)
        ]
        assert bad == [], f"line {node.lineno}"


@every_module
def test_module_names_are_nouns_not_drawers(path: Path) -> None:
    assert path.stem not in {"utils", "util", "common", "helpers", "base", "misc", "manager"}


# --- the core ---------------------------------------------------------------------------------

UNITS = re.compile(
    r"(^|_)(s|j|w|c|g|usd|l|bytes|tokens|ratio|chars|parameters|per_[a-z0-9_]+|id|at)$|^p_|^seconds$"
)
BARE_NUMBERS = {
    # Counts and pure numbers: there is no unit to name.
    *("n", "seed", "schema", "decision_version", "evidence", "stage", "slots", "threads", "pid"),
    *("running", "waiting", "layers", "kv_heads", "head_dim", "priority", "status", "tokens"),
    *("escalations", "tool_calls", "max_stages", "preference", "confidence", "min_confidence"),
    *("temperature", "num_speculative_tokens", "mean", "minimum", "first", "heat_weight"),
    *("q10", "q50"),
    *("value", "epoch", "file_bytes", "parameters", "logprobs", "alternatives", "throttled"),
    *("rows", "labels_used", "labels_needed", "tested"),
    *("batch_exponent", "battery_weight", "limit", "logprob", "min_logprob", "checkpoints"),
    *("release_logprob", "counted"),
    *("propensity", "turns", "labels", "correct", "answers", "failed", "priced", "metered"),
    *("loss", "score", "draft_propensity", "requests", "loop_repeats"),
    *("min_labels", "steps", "drafts", "full"),
    # Limits of watts or of megahertz: the unit is a field beside them.
    *("now", "least", "most", "set_to"),
    # Sums of a regression: their units are products, said where they are defined.
    *("sx", "sy", "sz", "sxx", "sxy", "sxz", "syy", "syz", "szz", "guess", "variance", "count"),
}


def structs() -> Iterator[type[msgspec.Struct]]:
    for path in CORE:
        module = importlib.import_module(dotted(path))
        for value in vars(module).values():
            is_struct = isinstance(value, type) and issubclass(value, msgspec.Struct)
            if is_struct and value.__module__ == module.__name__:
                yield value


every_struct = pytest.mark.parametrize("struct", list(structs()), ids=lambda s: s.__name__)


def leaves(hint: object) -> set[object]:
    inner = get_args(hint)
    return {hint} if not inner else set().union(*(leaves(part) for part in inner))


@every_struct
def test_values_of_the_core_are_frozen_and_by_keyword(struct: type[msgspec.Struct]) -> None:
    config = struct.__struct_config__
    assert config.frozen
    if struct.__struct_fields__:
        with pytest.raises(TypeError):
            struct(*[None] * len(struct.__struct_fields__))


@every_struct
def test_every_quantity_of_the_core_names_its_unit(struct: type[msgspec.Struct]) -> None:
    bad = []
    for name, hint in get_type_hints(struct).items():
        is_number = bool(leaves(hint) & {int, float}) and not name.startswith("__")
        if is_number and name not in BARE_NUMBERS and not UNITS.search(name):
            bad.append(name)
    assert bad == []


@every_struct
def test_no_value_of_the_core_can_be_changed_from_inside(struct: type[msgspec.Struct]) -> None:
    hints = {n: str(h) for n, h in get_type_hints(struct).items() if not n.startswith("__")}
    assert {n: h for n, h in hints.items() if re.search(r"\b(dict|list|set)\[", h)} == {}


# --- the repository ---------------------------------------------------------------------------


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in done.stdout.splitlines()]


FORBIDDEN = {
    # Split, so that this file does not name what it forbids.
    "a package registry's host": re.compile(
        "py" + r"pi\.org|files\.python" + "hosted|regis" + "try\\.np" + "mjs"
    ),
    "a path of some machine": re.compile(
        r"/tm" + r"p/w\b|/wo" + r"rk/(?:main|\.library)|/ho" + "me/[a-z]+/|/Us" + "ers/"
    ),
    "a key": re.compile(r"\bsk-[A-Za-z0-9]{20,}|\bhf_[A-Za-z0-9]{20,}|-----BEGIN [A-Z ]*PRIVATE"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_names(what: str) -> None:
    found = []
    for path in tracked():
        if not path.is_file() or path.stat().st_size > 5_000_000:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in FORBIDDEN[what].finditer(text)]
    assert found == []


def test_importing_the_package_does_no_work() -> None:
    script = (
        "import sys, metabolic, metabolic.core.ports, metabolic.config, metabolic.plugins;"
        "heavy = {'aiohttp', 'pydantic', 'httpx', 'uvicorn', 'xllamacpp', 'huggingface_hub',"
        " 'jsonschema', 'rich', 'cyclopts', 'openai', 'numpy', 'sqlite3'};"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
    assert done.returncode == 0
