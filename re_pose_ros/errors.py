"""The one exception for bad input; commands turn it into one line and exit code 2."""

EXIT_BAD_INPUT = 2


class InputError(Exception):
    """Something the user gave (file, topic, parameter, message) cannot be used.

    The message is one line that names the thing and the way out; line breaks in what it quotes
    become spaces.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))
