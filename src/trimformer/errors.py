"""The one exception for mistakes that the user can mend."""


class TrimformerError(Exception):
    """One clear sentence that names the thing and the remedy.

    The command line prints it without a traceback and exits with code 2; Python callers catch it like any exception.
    """
