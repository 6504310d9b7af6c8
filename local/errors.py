"""Why the stack cannot start or go on, in one clear line for the person at the terminal."""


class StackError(Exception):
    """The stack cannot start or go on."""
