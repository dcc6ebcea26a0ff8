"""What can be wrong with a format text: both are ValueErrors, since the text comes from the recording."""


class FormatError(ValueError):
    """The text is not a tracefs `format`, or its print fmt is not in the grammar that is understood."""


class EvaluationError(ValueError):
    """An expression has no value: a field is missing, or only the kernel that recorded it could compute it."""


def quoted(text: str) -> str:
    """Return untrusted text for a message: escaped, and cut at 40 characters."""
    longest = 40
    return repr(text if len(text) <= longest else f"{text[:longest]}…")
