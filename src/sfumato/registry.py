"""Names of things: how recipes, `config.json` and the command line say a class and its fields.

A *spec* is a plain mapping such as `{"name": "VP", "beta_max": 20.0}`. A field that is itself such
a thing is a nested spec, read by the registry given for that field, as in
`{"name": "Churn", "step": {...}}`. Only names listed in a registry can be built: no text from a
file ever names code to run.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, get_type_hints

import pydantic

from sfumato.errors import BadInput, nearest

T = TypeVar("T")

Spec = Mapping[str, Any]

_CHECKS = pydantic.ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True)


class Registry(Generic[T]):
    """The known things of one kind, by name.

    Args:
        kind: what the things are called in messages and specs (`"schedule"`).
        members: classes, or functions that make such a thing, by name.
        nested: registries of fields that are specs themselves; the kind's own is always there.
    """

    def __init__(
        self,
        kind: str,
        members: Mapping[str, Callable[..., T]],
        nested: "Mapping[str, Registry[Any]] | None" = None,
    ) -> None:
        self.kind = kind
        self.members = dict(members)
        self.nested = {kind: self, **(nested or {})}

    def build(self, spec: Spec | str) -> T:
        """The thing a spec names.

        Raises:
            BadInput: on an unknown name or key, a wrong type, or a value out of range.
        """
        spec = {"name": spec} if isinstance(spec, str) else spec
        make = self.find(spec.get("name"))
        fields = {key: value for key, value in spec.items() if key != "name"}
        checked = {key: self._field(make, spec["name"], key, v) for key, v in fields.items()}
        try:
            return make(**checked)
        except TypeError as error:
            raise BadInput(f"{self.kind} {spec['name']!r}: {error}") from error

    def find(self, name: object) -> Callable[..., T]:
        """What `name` stands for."""
        if not isinstance(name, str) or name not in self.members:
            raise BadInput(f"unknown {self.kind} {name!r}; {nearest(str(name), self.members)}")
        return self.members[name]

    def describe(self, thing: T) -> dict[str, Any]:
        """The spec from which `build` makes an equal thing; for frozen dataclasses."""
        name = next((n for n, make in self.members.items() if make is type(thing)), None)
        if name is None or not dataclasses.is_dataclass(thing):
            raise BadInput(
                f"{thing!r} is not a registered {self.kind} and cannot be saved by name"
            )
        values = {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing) if f.init}
        return {"name": name} | {key: self._plain(key, value) for key, value in values.items()}

    def _plain(self, key: str, value: Any) -> Any:
        if key in self.nested and dataclasses.is_dataclass(value):
            return self.nested[key].describe(value)
        return list(value) if isinstance(value, tuple) else value

    def _field(self, make: Callable[..., T], name: str, key: str, value: Any) -> Any:
        known = inspect.signature(make).parameters
        if key not in known:
            hint = nearest(key, known) if known else "it takes no settings"
            raise BadInput(f"{self.kind} {name!r} has no setting {key!r}; {hint}")
        if key in self.nested and isinstance(value, str | Mapping):
            return self.nested[key].build(value)
        source = make.__init__ if inspect.isclass(make) else make
        annotation = get_type_hints(source).get(key, Any)
        try:
            return pydantic.TypeAdapter(annotation, config=_CHECKS).validate_python(value)
        except pydantic.ValidationError as error:
            why = error.errors()[0]["msg"]
            raise BadInput(f"{self.kind} {name!r}: {key} = {value!r}: {why}") from error
        except pydantic.errors.PydanticUserError:
            return value
