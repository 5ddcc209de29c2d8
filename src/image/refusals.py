"""The errors for what a registry does not allow."""

from src.errors import ImageError
from src.image.login import Login


def wrong_password(host: str, login: Login | None) -> ImageError:
    """Return the error for a login that a registry refuses."""
    if login is None:
        return ImageError(f"registry {host} asks for a login", hint=_log_in(host))
    who = f" of {login.username}" if login.username else ""
    own = login.source == "REGISTER_USERNAME"
    return ImageError(
        f"registry {host} refuses the login{who} (from {login.source})",
        hint="correct REGISTER_USERNAME and REGISTER_PASSWORD" if own else f"log in again: docker login {host}",
    )


def denied(where: str, login: Login | None) -> ImageError:
    """Return the error for a push that a registry does not allow; where is registry/path."""
    if login is None:
        return ImageError(f"pushing to {where} needs a login", hint=_log_in(where.partition("/")[0]))
    return ImageError(
        f"{login.username or 'the user'} (from {login.source}) may not push to {where}",
        hint="ask for the right to, or name a place of your own: REGISTRY, REGISTRY_NAMESPACE",
    )


def _log_in(host: str) -> str:
    return f"set REGISTER_USERNAME and REGISTER_PASSWORD, or log in: docker login {host}"
