"""The one error a user of the package is meant to see."""


class ForecastError(Exception):
    """Something the user can mend.

    The message is one line: the item, its value, what was expected and what to do. The command
    line prints it and exits with code 1; a library user catches this class.
    """
