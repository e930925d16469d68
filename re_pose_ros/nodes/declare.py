"""Declares a table's parameters on a node and keeps their checked values."""

from __future__ import annotations

from collections.abc import Callable

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from re_pose_ros.errors import InputError
from re_pose_ros.parameters.table import Parameter, Table, Value, Values

_TYPES = {
    "boolean": RosParameter.Type.BOOL,
    "integer": RosParameter.Type.INTEGER,
    "double": RosParameter.Type.DOUBLE,
    "string": RosParameter.Type.STRING,
    "integer array": RosParameter.Type.INTEGER_ARRAY,
    "string array": RosParameter.Type.STRING_ARRAY,
}
_LIMIT = 2**62


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=parameter.name,
        type=_TYPES[parameter.type_name].value,
        description=f"{parameter.doc} [{parameter.unit}]" if parameter.unit else parameter.doc,
        additional_constraints=parameter.range_text,
    )
    if parameter.minimum is None and parameter.maximum is None:
        return descriptor
    low = -_LIMIT if parameter.minimum is None else parameter.minimum
    high = _LIMIT if parameter.maximum is None else parameter.maximum
    if parameter.type_name == "double":
        bounds = FloatingPointRange(from_value=float(low), to_value=float(high))
        descriptor.floating_point_range = [bounds]
    elif parameter.type_name == "integer":
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return descriptor


def declare(node: Node, table: Table) -> Values:
    """Declare all parameters; InputError in one line where a given value is impossible.

    Returns the values; ``watch`` keeps them current.
    """
    values = Values()
    for parameter in table.parameters.values():
        try:
            default = RosParameter(
                parameter.name, _TYPES[parameter.type_name], parameter.default
            ).value
            declared = node.declare_parameter(parameter.name, default, _descriptor(parameter))
        except InvalidParameterTypeException:
            hint = "; write 10.0 instead of 10" if parameter.type_name == "double" else ""
            raise InputError(
                f"parameter {parameter.name} has to be of type {parameter.type_name}{hint}"
            ) from None
        except InvalidParameterValueException:
            raise InputError(
                f"parameter {parameter.name}: allowed is {parameter.range_text}"
            ) from None
        value = declared.value
        values[parameter.name] = parameter.checked(
            list(value) if isinstance(parameter.default, list) else value
        )
    return values


def watch(node: Node, table: Table, values: Values, changed: Callable[[set[str]], None]) -> None:
    """Check every change; those of live parameters reach ``values`` and then ``changed``.

    ``changed`` may raise InputError, which refuses the change.
    """

    def refuse(reason: str) -> SetParametersResult:
        return SetParametersResult(successful=False, reason=reason)

    def check(parameters: list[RosParameter]) -> SetParametersResult:
        fresh: dict[str, Value] = {}
        for given in parameters:
            if given.name not in table:
                continue
            known = table[given.name]
            value = list(given.value) if isinstance(known.default, list) else given.value
            if value == values[given.name]:
                continue
            if not known.live:
                return refuse(f"{known.name} is read at start only; restart {table.node} to set it")
            try:
                fresh[known.name] = known.checked(value)
            except InputError as error:
                return refuse(str(error))
        before = dict(values)
        values.update(fresh)
        try:
            if fresh:
                changed(set(fresh))
        except InputError as error:
            values.update(before)
            return refuse(str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
