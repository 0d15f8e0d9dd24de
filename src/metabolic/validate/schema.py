"""Checks values against JSON schemas that strangers wrote, at a bounded price.

A schema comes with the request, so it may be wrong, refer to the network, or be built to take
for ever (patterns that backtrack, references that double). None of that may hold up the gateway:
nothing is fetched, every keyword evaluated draws on a budget, patterns are only tried where their
worst case is small, and compiled schemas are kept in a bounded cache. A schema that cannot be
judged is reported as unchecked and never blamed on the answer.
"""

__all__ = ["Outcome", "SchemaChecker", "is_cheap_pattern"]

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

_BUDGET = 20_000
"""Keyword evaluations per check: about 20 ms at worst (measured near 1 µs each)."""

_PATTERN_STEPS = 1_000_000
"""Characters to the power of unbounded repeats up to which a pattern is tried (about 10 ms)."""


_SEARCH_STEPS = 50_000_000
"""As above, for a pattern of the configuration, which nobody hostile wrote."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What a check found: ``valid``, ``invalid`` or ``unchecked``, and why in one line."""

    kind: Literal["valid", "invalid", "unchecked"]
    why: str = ""


VALID = Outcome(kind="valid")


class _Exhausted(Exception):
    """The budget of one check is spent."""


class _Budget:
    """Keyword evaluations left in the check under way."""

    def __init__(self) -> None:
        """Start with nothing; each check fills it."""
        self.left = 0

    def spend(self, amount: int) -> None:
        """Take ``amount``; raises ``_Exhausted`` when there is not enough."""
        self.left -= amount
        if self.left < 0:
            raise _Exhausted


class SchemaChecker:
    """Checks values against schemas given as JSON bytes; keeps the last compiled ones."""

    def __init__(self, *, capacity: int = 64) -> None:
        """Keep at most ``capacity`` compiled schemas."""
        self._capacity = capacity
        self._compiled: OrderedDict[bytes, Any] = OrderedDict()
        self._budget = _Budget()

    def check(self, schema: bytes, value: object) -> Outcome:
        """Say whether a decoded JSON value satisfies a schema."""
        compiled = self._compiled.get(schema)
        if compiled is None:
            compiled = self._remember(schema)
        else:
            self._compiled.move_to_end(schema)
        if isinstance(compiled, Outcome):
            return compiled
        return self._run(compiled, schema, value)

    def _remember(self, schema: bytes) -> Any:  # noqa: ANN401 - jsonschema is untyped
        """Compile a schema and keep it, or keep why it cannot be compiled."""
        compiled = _compile(schema, self._budget)
        self._compiled[schema] = compiled
        if len(self._compiled) > self._capacity:
            self._compiled.popitem(last=False)
        return compiled

    def _run(self, compiled: Any, schema: bytes, value: object) -> Outcome:  # noqa: ANN401 - jsonschema is untyped
        """Look for the first fault, within the budget."""
        from referencing.exceptions import Unresolvable  # noqa: PLC0415 - heavy

        self._budget.left = _BUDGET
        try:
            fault = next(compiled.iter_errors(value), None)
        except _Exhausted:
            return Outcome(kind="unchecked", why="too costly to check")
        except Unresolvable:
            return Outcome(kind="unchecked", why="a reference cannot be resolved")
        except RecursionError:
            return Outcome(kind="unchecked", why="nested too deep")
        except re.error:
            return Outcome(kind="unchecked", why="a pattern is not a regular expression")
        if fault is None:
            return VALID
        return Outcome(kind="invalid", why=_complaint(fault, schema))


def _complaint(fault: Any, schema: bytes) -> str:  # noqa: ANN401 - jsonschema is untyped
    """Return where and what is wrong, without a word of the answer: reasons are stored.

    A key that the schema does not name is the model's own word and is shown as ``*``.
    """
    path = "$"
    for step in fault.absolute_path:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if msgspec.json.encode(step) in schema else ".*"
    if fault.validator == "type":
        return f"{path} expected {_names(fault.validator_value)}"
    return f"{path} fails {fault.validator}"


def _names(types: object) -> str:
    """Return the type names of a ``type`` keyword, which is one or a list."""
    return " or ".join(map(str, types)) if isinstance(types, list) else str(types)  # pyright: ignore[reportUnknownArgumentType]


def _compile(schema: bytes, budget: _Budget) -> Any:  # noqa: ANN401 - jsonschema is untyped
    """Return a budgeted validator, or the ``Outcome`` every value gets from a bad schema."""
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 - heavy
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - heavy
    from jsonschema_specifications import REGISTRY  # noqa: PLC0415 - heavy

    try:
        document: Any = msgspec.json.decode(schema)
        base: Any = validators.validator_for(document, default=Draft202012Validator)
        base.check_schema(document)
    except (msgspec.DecodeError, SchemaError, RecursionError, TypeError, re.error):
        return Outcome(kind="unchecked", why="the schema itself is invalid")
    keywords = {name: _metered(name, rule, budget) for name, rule in base.VALIDATORS.items()}
    make: Any = cast("Any", validators).extend(base, keywords)
    compiled: Any = make(document, registry=REGISTRY)
    return compiled


def _metered(name: str, rule: Any, budget: _Budget) -> Callable[..., Iterator[Any]]:  # noqa: ANN401
    """Return a keyword's rule that pays from ``budget`` first and skips dear patterns."""

    def paid(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ANN401
        budget.spend(_price(name, instance))
        if name == "pattern" and not _is_cheap(str(expected), instance):
            return iter(())
        if name == "patternProperties" and not all(
            _is_cheap(str(pattern), key) for pattern in expected for key in instance
        ):
            return iter(())
        return iter(rule(validator, expected, instance, schema) or ())

    return paid


def _price(name: str, instance: object) -> int:
    """Return what evaluating one keyword takes: comparing items pairwise is quadratic."""
    if name == "uniqueItems" and isinstance(instance, list):
        size = len(instance)  # pyright: ignore[reportUnknownArgumentType]
        return 1 + size * size // 100
    return 1


def _is_cheap(pattern: str, text: object) -> bool:
    """Say whether the worst case of trying ``pattern`` on ``text`` is small."""
    if not isinstance(text, str):
        return True
    repeats = _unbounded_repeats(pattern)
    return repeats is not None and len(text) ** repeats <= _PATTERN_STEPS


def is_cheap_pattern(pattern: str, *, chars: int) -> bool:
    """Say whether trying ``pattern`` on a text of ``chars`` characters is cheap at the worst.

    A search may begin anywhere, which is one repeat more than the pattern has.
    """
    repeats = _unbounded_repeats(pattern)
    return repeats is not None and chars * 1000 ** max(0, repeats - 1) <= _SEARCH_STEPS


def _unbounded_repeats(pattern: str) -> int | None:
    """Count the repeats without an upper bound; ``None`` when one contains a choice or another.

    A repeat inside a repeat, ``(a+)+``, or a choice inside one, ``(a|a)*``, may take time
    exponential in the text; plain ones multiply, which is polynomial.
    """
    count = 0
    choices = [False]
    position, end = 0, len(pattern)
    while position < end:
        character = pattern[position]
        if character == "\\":
            position += 2
            continue
        if character == "[":
            position = _class_end(pattern, position)
        elif character == "(":
            choices.append(False)
        elif character == ")" and len(choices) > 1:
            inner = choices.pop()
            if inner and pattern[position + 1 : position + 2] in {"*", "+", "{"}:
                return None
            choices[-1] |= inner
        elif character in "*+{|?":
            choices[-1] = True
            count += character in "*+{"
        position += 1
    return count


def _class_end(pattern: str, start: int) -> int:
    """Return the index of the bracket that closes the character class opened at ``start``."""
    position = start + 1
    while position < len(pattern) and (pattern[position] != "]" or position == start + 1):
        position += 2 if pattern[position] == "\\" else 1
    return position
