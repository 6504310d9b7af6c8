"""Which ports of this machine are free."""

import socket

from local.errors import StackError


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def require_free(host: str, port: int) -> None:
    """
    Raises:
        StackError: something listens on the port already, or it cannot be listened on.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StackError(
                f"port {port} of {host} cannot be used ({error.strerror}); "
                f"choose another, as in: make run PORT={port + 1}"
            ) from None
