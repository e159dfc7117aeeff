"""What dhcc raises. The text is what the command prints: file, line, column, a caret and a hint where a model is wrong."""


class Error(Exception):
    """All of them."""


class InputError(Error, ValueError):
    """A model, a file or a tensor is wrong."""


class UsageError(Error, ValueError):
    """The call is wrong."""


class EnvironmentFailure(Error, RuntimeError):
    """No memory, no disk, no driver, no permission."""


class NumericError(Error, ArithmeticError):
    """A NaN or an infinity stopped the work."""


class Interrupted(Error):
    """A stop was asked for and obeyed."""
