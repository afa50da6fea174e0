"""What an entry of the table of edit formats says, and how one is written."""

from dataclasses import dataclass

from locscope.edits.rows import Row
from locscope.plugins import function_of
from locscope.records import Edit


@dataclass(frozen=True)
class EditFormat:
    """An edit format.

    A file has it whose rows have all of `fields`, which every edit needs, and at least one of
    `any_of`, if there are such; `a.b` is the key `b` of an object (or of those of a list) in field
    `a`. `reads` are all fields that the reader uses, `aside` those of the layout that say nothing
    of an edit; one that ends in `*` stands for all that begin so. `note` is for those who read
    results on such a file. `function` is `module:name`, imported when it is used; it takes a Row
    and gives an Edit, whose id is empty where the file has none. `expand` names a function that
    makes several rows of one, for layouts with several edits a row. In a `strict` format a row that
    cannot be used is an error; in a published one it is left out and counted.
    """

    name: str
    title: str
    fields: tuple[str, ...]
    reads: tuple[str, ...]
    function: str
    any_of: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    note: str = ""
    expand: str = ""
    strict: bool = False

    def read(self, row: Row) -> Edit:
        """The edit in a row."""
        return function_of(self.function)(row)

    def expanded(self, row: Row) -> tuple[Row, ...]:
        """The rows of single edits in a row of the file."""
        return function_of(self.expand)(row) if self.expand else (row,)


def listed(names: str) -> tuple[str, ...]:
    """Names that were written with commas between them."""
    return tuple(names.split(", ")) if names else ()


def published(
    name: str, title: str, fields: str, reads: str, function: str, **more: str
) -> EditFormat:
    """The entry of a published format, whose reader is `module:name` in `readers/`.

    Names of fields are written with commas between them; `fields` are among those that are read.
    """
    own = listed(fields)
    return EditFormat(
        name,
        title,
        own,
        (*own, *(field for field in listed(reads) if field not in own)),
        f"locscope.edits.readers.{function}",
        any_of=listed(more.get("any_of", "")),
        aside=listed(more.get("aside", "")),
        note=more.get("note", ""),
        expand=more.get("expand", ""),
    )
