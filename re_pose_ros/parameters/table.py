"""What a node's parameter is: type by its default, range, choices, and whether it is live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from re_pose_ros.errors import InputError

Value = bool | int | float | str | list[str] | list[int]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a node.

    Attributes:
        name: as ROS knows it.
        default: gives the type; an empty list of strings is written ``[""]`` for YAML's sake.
        doc: one line without a full stop.
        minimum, maximum: inclusive bounds of a number (of each, for a list).
        choices: the allowed strings; empty allows all.
        unit: SI unit or ``px``; empty for none.
        live: may be set while the node is active.
    """

    name: str
    default: Value
    doc: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    live: bool = False

    @property
    def type_name(self) -> str:
        """The ROS name of the type, as ``ros2 param describe`` prints it."""
        if isinstance(self.default, list):
            return "integer array" if isinstance(self.default[0], int) else "string array"
        names = {bool: "boolean", int: "integer", float: "double", str: "string"}
        return names[type(self.default)]

    def parse(self, text: str) -> Value:
        """The value that a launch or command-line argument means; InputError where it is none."""
        try:
            return self.checked(self._converted(text))
        except ValueError:
            raise InputError(f"{self.name}: '{text}' is no {self.type_name}") from None

    def _converted(self, text: str) -> Value:
        kind = self.type_name
        if kind == "boolean":
            lowered = text.strip().lower()
            if lowered not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
                raise ValueError(text)
            return lowered in ("true", "1", "yes", "on")
        if kind == "integer":
            return int(text)
        if kind == "double":
            return float(text)
        if kind == "string":
            return text
        items = [item.strip() for item in text.strip("[] ").split(",") if item.strip()]
        return [int(item) for item in items] if kind == "integer array" else items or [""]

    def checked(self, value: Value) -> Value:
        """``value`` unchanged; InputError with the allowed range or choices where not allowed."""
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int | float) and not isinstance(item, bool):
                below = self.minimum is not None and item < self.minimum
                above = self.maximum is not None and item > self.maximum
                if below or above or item != item:
                    raise InputError(f"{self.name}={item}: allowed is {self.range_text}")
            if self.choices and item not in self.choices:
                allowed = ", ".join(self.choices)
                raise InputError(f"{self.name}='{item}': allowed is one of {allowed}")
        return value

    @property
    def range_text(self) -> str:
        if self.choices:
            return ", ".join(self.choices)
        if self.minimum is None and self.maximum is None:
            return ""
        low = "" if self.minimum is None else f"{self.minimum:g}"
        high = "" if self.maximum is None else f"{self.maximum:g}"
        return (
            f"{low} to {high}" if low and high else (f"at least {low}" if low else f"up to {high}")
        )


class Table:
    """The parameters of one node, by name, in the order of the docs."""

    def __init__(self, node: str, parameters: Iterable[Parameter]) -> None:
        self.node = node
        self.parameters = {p.name: p for p in parameters}

    def __contains__(self, name: str) -> bool:
        return name in self.parameters

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[name]

    def defaults(self) -> dict[str, Value]:
        return {name: p.default for name, p in self.parameters.items()}

    def markdown(self) -> str:
        """The docs table."""
        rows = [
            "| parameter | type | default | range | live | meaning |",
            "|---|---|---|---|---|---|",
        ]
        for p in self.parameters.values():
            default = (
                ", ".join(map(str, p.default)) if isinstance(p.default, list) else str(p.default)
            )
            meaning = f"{p.doc} [{p.unit}]" if p.unit else p.doc
            live = "yes" if p.live else ""
            shown = f"`{default}`" if default else ""
            rows.append(
                f"| `{p.name}` | {p.type_name} | {shown} | {p.range_text} | {live} | {meaning} |"
            )
        return "\n".join(rows)


class Values(dict[str, Value]):
    """The current values of a table's parameters, with accessors that say the type."""

    def flag(self, name: str) -> bool:
        return bool(self[name])

    def whole(self, name: str) -> int:
        return int(self[name])  # type: ignore[arg-type]

    def real(self, name: str) -> float:
        return float(self[name])  # type: ignore[arg-type]

    def text(self, name: str) -> str:
        return str(self[name])

    def wholes(self, name: str) -> tuple[int, ...]:
        return tuple(int(item) for item in self[name])  # type: ignore[union-attr]

    def texts(self, name: str) -> tuple[str, ...]:
        """Without the empty strings that stand for an empty list."""
        return tuple(str(item) for item in self[name] if str(item))  # type: ignore[union-attr]
