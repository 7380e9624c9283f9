"""The errors that a user can mend, and the codes that a program ends with."""

EXIT_BAD_INPUT = 2
"""After a `UserError`."""

EXIT_INTERRUPTED = 130
"""After Ctrl-C, as a shell has it."""


class UserError(Exception):
    """Bad input: a setting, a file, an environment or a message that does not fit.

    The text names what was found, what was expected and what to do. Commands print it without a
    traceback and exit with code 2; nodes log it and refuse the request.
    """
