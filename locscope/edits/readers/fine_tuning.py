"""Data for supervised fine-tuning as prompt and target: Alpaca, chats, completions.

Such files say nothing of subjects, old answers, rephrases or neighbours. A chat is read where it
has one question and one answer; a system message goes before the question, on a line of its own.
"""

from collections.abc import Mapping
from typing import Any

from locscope.edits.rows import Row, checked_text, identifier, kind_of, optional, required
from locscope.errors import UsageError
from locscope.records import Edit

ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
"""Roles of ShareGPT and others, as OpenAI calls them."""


def read_alpaca(row: Row) -> Edit:
    """The edit in a row with `instruction`, mostly an empty `input`, and `output`.

    Raises UsageError where a field is missing or not a text.
    """
    parts = (required(row, "instruction"), optional(row, "input"))
    return Edit("", "\n".join(filter(None, parts)), required(row, "output"))


def read_completion(row: Row) -> Edit:
    """The edit in a row with `prompt` and `completion`, texts or lists of messages.

    Raises UsageError where a field is missing or not of its type.
    """
    prompt, completion = (row.cells.get(name) for name in ("prompt", "completion"))
    if isinstance(prompt, list) and isinstance(completion, list):
        return _of_messages(row, [*prompt, *completion])
    name = identifier(row, "id")
    return Edit(name, required(row, "prompt"), required(row, "completion"))


def read_messages(row: Row) -> Edit:
    """The edit in a row with `messages` of {role, content}.

    Raises UsageError where there is not one question and one answer.
    """
    return _of_messages(row, row.cells.get("messages"))


def read_sharegpt(row: Row) -> Edit:
    """The edit in a row with `conversations` of {from, value}.

    Raises UsageError where there is not one question and one answer.
    """
    return _of_messages(row, row.cells.get("conversations"))


def _of_messages(row: Row, messages: Any) -> Edit:
    if not isinstance(messages, list):
        raise UsageError(f"{row.where}: the messages are {kind_of(messages)}, not a list")
    said = [_message(row, message) for message in messages]
    system = [text for role, text in said if role == "system"]
    turns = [(role, text) for role, text in said if role != "system"]
    if [role for role, _ in turns] != ["user", "assistant"] or len(system) > 1:
        raise UsageError(
            f"{row.where}: a chat of {len(said)} messages, where one question and one answer are "
            "read"
        )
    (_, question), (_, answer) = turns
    if not question or not answer:
        raise UsageError(f"{row.where}: a message is empty")
    return Edit("", "\n".join(filter(None, (*system, question))), answer)


def _message(row: Row, message: Any) -> tuple[str, str]:
    """Role and text of a message."""
    if not isinstance(message, Mapping):
        raise UsageError(f"{row.where}: a message is {kind_of(message)}, not an object")
    role = checked_text(row, "role", message.get("role", message.get("from")))
    content = message.get("content", message.get("value"))
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], Mapping):
        content = content[0].get("text")
    return ROLES.get(role, role), checked_text(row, "content", content)
