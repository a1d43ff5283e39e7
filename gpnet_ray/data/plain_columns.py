"""Tables from files hold values, never Python objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["refuse_objects"]


def refuse_objects(schema: pa.Schema) -> None:
    """Refuse columns of types that Python code defines, before a value of theirs is looked at.

    Ray Data registers one with pyarrow (``ray.data.arrow_pickled_object``) that unpickles what a file holds
    and thereby runs it, as soon as a value is asked for; any process that has imported Ray Data has it.

    Args:
        schema: Of a table that was read from a file but whose values were not yet turned into Python's.

    Raises:
        pyarrow.ArrowInvalid: a column, or what it consists of, is of such a type; names both.
    """
    import pyarrow as pa

    for field in schema:
        foreign = _defined_in_python(field.type)
        if foreign is not None:
            raise pa.ArrowInvalid(
                f"column {field.name!r} is of the type {foreign}, whose values are Python objects; save"
                " it as text or numbers"
            )


def _defined_in_python(kind: pa.DataType) -> str | None:
    """Name of the first such type in a type, looked for in what lists and structs consist of too."""
    import pyarrow as pa

    if isinstance(kind, pa.ExtensionType):
        return str(kind.extension_name)
    parts = [kind.field(number).type for number in range(kind.num_fields)]
    return next((name for name in map(_defined_in_python, parts) if name is not None), None)
