"""The statements that turn rows of JSON, and lines of access logs, into the common columns."""

__all__ = ["access_sql", "json_sql"]

from metabolic.audit.formats import Format
from metabolic.audit.rows import COLUMNS, NUMBERS

_TEXT_CHARS = 4096
_TIME_WAYS = """CASE
    WHEN {x} IS NULL THEN NULL
    WHEN try_cast({x} AS DOUBLE) > 1e17 THEN try_cast({x} AS DOUBLE) / 1e9
    WHEN try_cast({x} AS DOUBLE) > 1e11 THEN try_cast({x} AS DOUBLE) / 1e3
    ELSE coalesce(try_cast({x} AS DOUBLE), epoch(try_cast({x} AS TIMESTAMPTZ)),
                  epoch(try_strptime({x}, '%d/%b/%Y:%H:%M:%S %z'))) END"""
"""Seconds since the epoch, from seconds, milliseconds, nanoseconds, ISO 8601 or nginx's way."""

_ENDPOINTS = "chat/completions|completions|embeddings|responses|messages|generate"


def json_sql(one: Format, *, source: str, file: int, sample: float) -> str:
    """Return the select of rows from ``source``, a relation with ``line`` and ``raw`` (JSON)."""
    paths = sorted({path for choices in one.paths.values() for path in choices} | {"_line", "_bad"})
    at = {path: number + 1 for number, path in enumerate(paths)}

    def field(column: str) -> str:
        found = [f"v[{at[path]}]" for path in one.paths.get(column, ())]
        return f"coalesce({', '.join(found)}, NULL)" if found else "NULL::VARCHAR"

    columns = ", ".join(f"{field(name)} AS {name}_" for name in _RAW)
    listed = ", ".join(f"'{_json_path(path)}'" for path in paths)
    return f"""
        WITH lines AS (SELECT line, raw, json_valid(raw) AS ok FROM {source}),
        picked AS (SELECT line, ok,
            json_extract_string(CASE WHEN ok THEN raw END, [{listed}]) AS v FROM lines),
        named AS (SELECT coalesce(try_cast(v[{at["_line"]}] AS BIGINT), line) AS line, ok,
            v[{at["_bad"]}] AS bad_, {columns} FROM picked),
        typed AS (SELECT line, ok, {_typed(fresh=one.fresh_input)} FROM named)
        SELECT {_final(file, sample)} FROM typed"""


_RAW = (
    "time",
    "end",
    "request",
    "session",
    "task",
    "tenant",
    "model",
    "status",
    "error",
    "first",
    "second",
    "role",
    "text",
    "prompt",
    "tools",
    "from_cache",
    "milliseconds",
    "read_tokens",
    "written_tokens",
    "lane",
    "shadow_model",
    *NUMBERS,
)
"""What is picked from a row before it is understood."""


def _json_path(path: str) -> str:
    """Return a dotted path as DuckDB's JSON path; each name quoted, indices kept."""
    if path.startswith(("gen_ai.", ":", "@")):
        return f'$."{path}"'
    parts: list[str] = []
    for name in path.split("."):
        head, bracket, rest = name.partition("[")
        parts.append(f'"{head}"{bracket}{rest}')
    return "$." + ".".join(parts)


def _typed(*, fresh: bool) -> str:
    """Return the columns with their types, still with what is needed to judge a row."""
    numbers = ", ".join(
        f"try_cast({name}_ AS DOUBLE) AS {name}"
        for name in NUMBERS
        if name not in {"input_tokens", "cached_tokens", "seconds"}
    )
    read = "coalesce(try_cast(read_tokens_ AS DOUBLE), 0)"
    written = "coalesce(try_cast(written_tokens_ AS DOUBLE), 0)"
    cached = "try_cast(cached_tokens_ AS DOUBLE)"
    add = f"coalesce({cached}, 0)" if fresh else "0"
    return f"""{numbers}, bad_,
        try_cast(input_tokens_ AS DOUBLE) + {read} + {written} + {add} AS input_tokens,
        coalesce({cached}, CASE WHEN read_tokens_ IS NOT NULL THEN {read} END) AS cached_tokens,
        coalesce(try_cast(seconds_ AS DOUBLE), try_cast(milliseconds_ AS DOUBLE) / 1000,
            {_TIME_WAYS.format(x="end_")} - {_TIME_WAYS.format(x="time_")}) AS seconds,
        time_, {_TIME_WAYS.format(x="time_")} AS at_s, input_tokens_, output_tokens_,
        request_, session_, task_, tenant_, model_, status_, error_, first_, second_, role_, text_,
        prompt_,
        tools_, from_cache_, lane_, shadow_model_"""


_BAD = """CASE
    WHEN NOT ok THEN 'not JSON'
    WHEN bad_ IS NOT NULL THEN bad_
    WHEN model_ IS NULL AND input_tokens IS NULL AND status_ IS NULL AND reported_usd IS NULL
        THEN 'no model, tokens, status or cost'
    WHEN input_tokens < 0 OR output_tokens < 0 OR reported_usd < 0 THEN 'a count below zero'
    WHEN (input_tokens_ IS NOT NULL AND input_tokens IS NULL)
        OR (output_tokens_ IS NOT NULL AND output_tokens IS NULL) THEN 'tokens are no number'
    WHEN cached_tokens > input_tokens THEN 'more cached than input tokens'
    WHEN time_ IS NOT NULL AND at_s IS NULL THEN 'time not understood'
    END"""

_FAILED = """(coalesce(try_cast(status_ AS INTEGER), 200) >= 400
    OR lower(coalesce(status_, '')) IN ('failure', 'failed', 'error', 'cancelled')
    OR coalesce(nullif(error_, ''), '') NOT IN ('', '{}', 'null'))"""

_SESSION = """CASE WHEN nullif(session_, '') IS NOT NULL THEN hash(session_) // 2 * 2
    WHEN first_ IS NOT NULL THEN hash(first_, CASE WHEN role_ IN ('system', 'developer')
        THEN second_ END, coalesce(tenant_, '')) // 2 * 2 + 1 END"""
"""By its id (even); else by who asked and how the conversation begins (odd), cut by time later."""


def _final(file: int, sample: float) -> str:
    """Return the columns of the table, in its order."""
    cut = int(sample * 1_000_000)
    made = {
        "file": str(file),
        "bad": _BAD,
        "request": "CASE WHEN request_ IS NOT NULL THEN hash(request_) END",
        "session": _SESSION,
        "task": "CASE WHEN nullif(task_, '') IS NOT NULL THEN hash(task_) END",
        "model": "nullif(model_, '')",
        "requests": "greatest(coalesce(requests, 1), 1)::BIGINT",
        "failed": _FAILED,
        "from_cache": "lower(coalesce(from_cache_, '')) IN ('true', '1', 'yes')",
        "tools": "coalesce(tools_, '') NOT IN ('', '[]', 'null', 'false')",
        "prompt": "CASE WHEN prompt_ IS NOT NULL THEN hash(prompt_) END",
        "text": f"CASE WHEN hash(line, {file}) % 1000000 < {cut} "
        f"THEN left(text_, {_TEXT_CHARS}) END",
        "lane": "nullif(lane_, '')",
        "shadow_model": "nullif(shadow_model_, '')",
    }
    return ", ".join(
        f"{made[name]} AS {name}" if name in made else f"{name}::{kind} AS {name}"
        for name, kind in COLUMNS.items()
    )


_NGINX = (
    r'^(\S+) \S+ \S+ \[([^\]]+)\] "(\S+) (\S+)[^"]*" (\d{3}) \S+'
    r'(?: "[^"]*" "[^"]*")?(?: (?:rt=)?(\d+\.\d+))?'
)
_ENVOY = r'^\[([^\]]+)\] "(\S+) (\S+)[^"]*" (\d{3}) \S+ (?:\S+ )?(\d+) (\d+) (\d+)'
_UVICORN = r'^(?:\([^)]*\) )?INFO:\s+(\S+) - "(\S+) (\S+)[^"]*" (\d{3})'
_RECEIVED = r"Received request (\S+): prompt: (.*), params: SamplingParams\("


def access_sql(*, source: str, file: int, sample: float) -> str:
    """Return the select of rows from the lines of an nginx, Envoy or vLLM log.

    Lines about anything but inference (health checks, metrics, an engine's own words) are marked
    bad with ``other line``, which is counted apart.
    """
    return f"""
        WITH found AS (SELECT line, raw,
            regexp_extract(raw, '{_NGINX}', ['who','at','verb','path','code','took']) AS n,
            regexp_extract(raw, '{_ENVOY}', ['at','verb','path','code','got','sent','ms']) AS e,
            regexp_extract(raw, '{_UVICORN}', ['who','verb','path','code']) AS u,
            regexp_extract(raw, '{_RECEIVED}', ['id','prompt']) AS r FROM {source}),
        typed AS (SELECT line, true AS ok, nullif(coalesce(nullif(n.at, ''), e.at), '') AS time_,
            nullif(coalesce(nullif(n.code, ''), nullif(e.code, ''), u.code), '') AS status_,
            coalesce(nullif(n.path, ''), nullif(e.path, ''), u.path) AS path_,
            coalesce(try_cast(nullif(n.took, '') AS DOUBLE), try_cast(e.ms AS DOUBLE) / 1000)
                AS seconds,
            nullif(r.id, '') AS request_, nullif(trim(r.prompt, '''"'), '') AS text_,
            raw FROM found)
        SELECT {_access_columns(file, sample)} FROM typed"""


def _access_columns(file: int, sample: float) -> str:
    """Return the columns of the table for a line of an access log."""
    cut = int(sample * 1_000_000)
    made = {
        "file": str(file),
        "line": "line",
        "bad": f"""CASE WHEN text_ IS NOT NULL THEN NULL
            WHEN status_ IS NULL THEN CASE WHEN raw LIKE '%HTTP/%' THEN 'not an access-log line'
                ELSE 'other line' END
            WHEN NOT regexp_matches(path_, '({_ENDPOINTS})') THEN 'other line'
            WHEN time_ IS NOT NULL AND {_TIME_WAYS.format(x="time_")} IS NULL
                THEN 'time not understood' END""",
        "at_s": _TIME_WAYS.format(x="time_"),
        "request": "CASE WHEN request_ IS NOT NULL THEN hash(request_) END",
        "requests": "1",
        "seconds": "seconds",
        "failed": "coalesce(try_cast(status_ AS INTEGER), 200) >= 400",
        "from_cache": "false",
        "tools": "false",
        "prompt": "CASE WHEN text_ IS NOT NULL THEN hash(text_) END",
        "text": f"CASE WHEN hash(line, {file}) % 1000000 < {cut} "
        f"THEN left(text_, {_TEXT_CHARS}) END",
    }
    return ", ".join(
        f"({made.get(name, 'NULL')})::{kind} AS {name}" for name, kind in COLUMNS.items()
    )
