"""JSON schemas: reading one, and checking a reply against it. Nothing that a schema refers to is fetched.

What is wrong is told as a `SchemaFault`; each host has its own words for it. A pattern that could hold
the process is refused: at once where short strings will do, else with the string that is too long for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal

from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from .jsontext import Json, JsonObject, as_object, dump_json, load_json
from .pattern_cost import MAX_STEPS, steps_of

Reason = Literal["not_json", "not_an_object", "invalid", "unresolvable", "unusable"]

# Its stub has no types.
_EXTEND: Final[Callable[[type[Validator], Mapping[str, object]], type[Validator]]] = (
    extend
)
_Rule = Callable[[Validator, Json, Json, JsonObject], Iterator[ValidationError]]
_SHORT_STRING: Final = 40  # characters that each pattern must be able to bear

MAX_WORK: Final = 10 * MAX_STEPS
"""Steps that one check of a reply may take in all, those of its patterns and references."""

_STEPS_OF_REFERENCE: Final = 2000  # it takes as long
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


class SchemaFault(ValueError):
    """A schema is no good, or a reply does not fit it.

    `reason` "not_json" and "not_an_object" speak of a text that should be a schema; "invalid" of a value, the
    schema or the reply, that breaks a rule at `path` ("$" is its top), as `message` says; "unresolvable" of a
    reference, the `message`, that leads out of the schema; "unusable" of all else that validators choke on.
    """

    def __init__(self, reason: Reason, path: str = "$", message: str = "") -> None:
        super().__init__(reason, path, message)
        self.reason = reason
        self.path = path
        self.message = message


def parse_schema(text: str | bytes) -> JsonObject:
    """Read a JSON schema; raises SchemaFault.

    Takes it out of its wrappers: Dify's structured output hands over `{"name": …, "schema": …}`, and people
    paste what OpenAI's API takes, `{"type": "json_schema", "json_schema": {"name": …, "schema": …}}`.
    """
    try:
        schema = load_json(text)
    except ValueError:
        raise SchemaFault("not_json") from None
    for wrapper in ("json_schema", "schema"):
        inner = as_object(schema).get(wrapper)
        schema = inner if isinstance(inner, dict) else schema
    if not isinstance(schema, dict):
        raise SchemaFault("not_an_object")
    with _schema_faults():
        _validator_class(schema).check_schema(schema)
        for pattern in _patterns_in(schema):
            _refuse_slow(pattern, _SHORT_STRING)
    return schema


def check_reply(answer: str, schema: JsonObject) -> None:
    """Check that an answer, which is JSON, fits a schema; raises SchemaFault."""
    _raise_best(_faults(load_json(answer), schema))


def fit_reply(answer: str, schema: JsonObject) -> str:
    """Return an answer, which is JSON, without keys that the schema does not allow.

    Raises SchemaFault where it does not fit then. Only keys under `additionalProperties:
    false` go, since nobody who wrote such a schema could have used them.
    """
    faults = _faults(load_json(answer), schema)
    if not faults:
        return answer
    value = load_json(answer)
    for fault in _faults_of_extra_keys(faults):
        _drop_extra_keys(value, fault)
    _raise_best(_faults(value, schema))
    return dump_json(value)


def response_format_of(schema: JsonObject) -> JsonObject:
    """OpenAI's `response_format` that asks for a reply of this schema."""
    named: JsonObject = {"name": "reply", "schema": schema}
    return {"type": "json_schema", "json_schema": named}


def _faults(value: Json, schema: JsonObject) -> list[ValidationError]:
    with _schema_faults():
        longest = max(map(len, _keys_in(value)), default=0)
        for pattern in _patterns_in(schema, of_values=False):
            _refuse_slow(pattern, longest)
        checked = _with_bounds(_validator_class(schema))
        # The registry is empty, so a `$ref` to another machine sends no request.
        validator = checked(schema, registry=Registry())
        return list(validator.iter_errors(value))


def _raise_best(faults: list[ValidationError]) -> None:
    with _schema_faults():
        if fault := best_match(faults):
            raise fault


def _faults_of_extra_keys(faults: list[ValidationError]) -> list[ValidationError]:
    """The faults if all are extra keys, those of a branch too; none if two branches could be meant."""
    extra: list[ValidationError] = []
    for fault in faults:
        if fault.validator == "additionalProperties":
            extra.append(fault)
            continue
        readings = [_faults_of_extra_keys(branch) for branch in _branches(fault)]
        fitting = [reading for reading in readings if reading]
        if len(fitting) != 1:
            return []
        extra += fitting[0]
    return extra


def _branches(fault: ValidationError) -> Iterable[list[ValidationError]]:
    """The faults of each branch of an `anyOf` or `oneOf` of which none fits."""
    branches: dict[str | int, list[ValidationError]] = {}
    if fault.validator in ("anyOf", "oneOf"):
        for inner in fault.context or ():
            branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    return branches.values()


def _drop_extra_keys(value: Json, fault: ValidationError) -> None:
    """Drop the keys that the schema does not name from the object at the fault's place."""
    for step in fault.absolute_path:
        value = _inside(value, step)
    schema = as_object(fault.schema)
    known = as_object(schema.get("properties"))
    patterns = as_object(schema.get("patternProperties"))
    found = as_object(value)
    for name in [name for name in found if name not in known]:
        if not any(re.search(pattern, name) for pattern in patterns):
            del found[name]


def _inside(value: Json, step: str | int) -> Json:
    if isinstance(value, list) and isinstance(step, int):
        return value[step]
    return as_object(value).get(str(step))  # None: it was an extra key itself


def _validator_class(schema: JsonObject) -> type[Validator]:
    return validator_for(schema, default=Draft202012Validator)


def _with_bounds(standard: type[Validator]) -> type[Validator]:
    """A validator for one check, which gives up what could take for ever."""
    work = _Work()
    references = set(_REFERENCES).intersection(standard.VALIDATORS)
    rules = {name: work.counts(standard.VALIDATORS[name]) for name in references}
    names = work.counts_names(standard.VALIDATORS["patternProperties"])
    return _EXTEND(
        standard, {**rules, "patternProperties": names, "pattern": work.check_pattern}
    )


class _Work:
    """Counts the steps of one check: references that double are followed millions of times."""

    def __init__(self) -> None:
        self._left: float = MAX_WORK

    def take(self, steps: float) -> None:
        self._left -= steps
        if self._left < 0:
            raise SchemaFault(
                "invalid", message="the schema may take for ever to check"
            )

    def counts(self, rule: _Rule) -> _Rule:
        """The rule of a reference, counted."""

        def counted(
            validator: Validator, value: Json, found: Json, schema: JsonObject
        ) -> Iterator[ValidationError]:
            self.take(_STEPS_OF_REFERENCE)
            yield from rule(validator, value, found, schema)

        return counted

    def counts_names(self, rule: _Rule) -> _Rule:
        """The rule of `patternProperties`, counted."""

        def counted(
            validator: Validator, value: Json, found: Json, schema: JsonObject
        ) -> Iterator[ValidationError]:
            for pattern in as_object(value):
                for name in as_object(found):
                    self.take(steps_of(pattern, len(name)))
            yield from rule(validator, value, found, schema)

        return counted

    def check_pattern(
        self, validator: Validator, pattern: str, found: Json, schema: JsonObject
    ) -> Iterator[ValidationError]:
        """The keyword `pattern`, for strings that are short enough for it."""
        if isinstance(found, str):
            _refuse_slow(pattern, len(found))
            self.take(steps_of(pattern, len(found)))
            if not re.search(pattern, found):
                yield ValidationError(f"{found!r} does not match {pattern!r}")


def _refuse_slow(pattern: str, length: int) -> None:
    if steps_of(pattern, length) > MAX_STEPS:
        raise SchemaFault(
            "invalid",
            message=f"{pattern!r} may take for ever to check {length} characters",
        )


def _patterns_in(schema: Json, of_values: bool = True) -> Iterator[str]:
    """All that stands where a pattern does: of property names, and of values."""
    for part in _objects_in(schema):
        yield from as_object(part.get("patternProperties"))
        pattern = part.get("pattern")
        if of_values and isinstance(pattern, str):
            yield pattern


def _keys_in(value: Json) -> Iterator[str]:
    for part in _objects_in(value):
        yield from part


def _objects_in(value: Json) -> Iterator[JsonObject]:
    """All objects in a value, at any depth."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            yield part
            rest += part.values()
        elif isinstance(part, list):
            rest += part


@contextmanager
def _schema_faults() -> Iterator[None]:
    """Turn all that the validators raise into SchemaFault."""
    try:
        yield
    except (SchemaError, ValidationError) as error:
        raise SchemaFault("invalid", error.json_path, error.message) from None
    except SchemaFault:
        raise
    except Unresolvable as error:
        raise SchemaFault("unresolvable", message=error.ref) from None
    except Exception:  # noqa: BLE001 (a `$schema` of any type, a `$ref` to itself, nesting without end, …)
        raise SchemaFault("unusable") from None
