"""Which Kubeflow server the settings name, and as whom to ask it; pure, but for a look at the named files.

In a Kubeflow pod with the token of its service account, that token is used unless another login is set.
"""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from src.errors import ConfigError
from src.settings import Settings

POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
"""In a pod of Kubeflow: the service account's token of audience pipelines.kubeflow.org."""

_EXAMPLE = "KFP_API_URL=https://deploykf.example.com:8443/pipeline"


@dataclass(frozen=True, kw_only=True)
class Token:
    """A bearer token: its value, or the file that it is read from each time; origin names the setting."""

    origin: str
    value: str | None = field(default=None, repr=False)
    path: Path | None = None

    def read(self) -> str:
        """Return the token as it is now; raises ConfigError when there is none that can be sent."""
        value = self.value if self.path is None else _read_token(self.path, self.origin)
        if not value or not re.fullmatch(r"[\x21-\x7e]+", value):
            raise ConfigError(
                f"{self.origin} holds no token: it must be one word of ASCII characters",
                hint="copy the token anew, without quotes, blanks or line ends inside",
            )
        return value


@dataclass(frozen=True, kw_only=True)
class User:
    """A user of Dex. connector: the id of the Dex connector that knows the user; None: the usual ones.

    default: nobody set this user; it is the one that deployKF comes with.
    """

    name: str
    password: str = field(repr=False)
    connector: str | None = None
    default: bool = False


@dataclass(frozen=True, kw_only=True)
class Server:
    """A Kubeflow Pipelines server.

    url: of its UI, without a slash at the end; the API is below it. authority: the file of the CA certificates that
    it is checked against (default: those that are trusted anyway). checked: whether it is checked at all.
    """

    url: str
    login: Token | User
    authority: Path | None = None
    checked: bool = True

    @property
    def host(self) -> str:
        """The server's name and port, for messages."""
        return urlsplit(self.url).netloc


def read_server(settings: Settings, pod_token: Path = POD_TOKEN) -> Server:
    """Return the server that the settings name; raises ConfigError where they do not make sense."""
    return Server(
        url=clean_server_url(settings.kfp_api_url or ""),
        login=_read_login(settings, pod_token),
        authority=_read_authority(settings.kfp_ca_cert),
        checked=not settings.kfp_skip_tls_verify,
    )


def clean_server_url(text: str) -> str:
    """Return the URL of the pipelines UI for what people copy: the dashboard's address, the API's, a final slash.

    Raises ConfigError when it is no http(s) URL; the message shows no password.
    """
    parts = _split(text)
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "KFP_API_URL holds a user name or password", hint="take it out; set DEX_USERNAME and DEX_PASSWORD"
        )
    path = re.sub(r"/apis(/.*)?$", "", parts.path).rstrip("/")
    path = re.sub(r"^/_/", "/", path)  # the dashboard shows the pipelines UI in a frame
    return f"{parts.scheme}://{parts.netloc}{path}"


def _split(text: str) -> SplitResult:
    problem = "is not set" if not text else f"is no URL: {text.rpartition('@')[2]}"
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"\s", text):
        raise ConfigError(f"KFP_API_URL {problem}", hint=f"write the address of the pipelines UI, like {_EXAMPLE}")
    return parts


def _read_login(settings: Settings, pod_token: Path) -> Token | User:
    if settings.kfp_token:
        token = Token(origin="KFP_TOKEN", value=settings.kfp_token)
        token.read()
        return token
    if settings.kfp_token_file:
        token = Token(origin="KFP_TOKEN_FILE", path=settings.kfp_token_file)
        token.read()
        return token
    connector = settings.dex_auth_type
    if connector and not re.fullmatch(r"[A-Za-z0-9_.-]+", connector):
        raise ConfigError(
            f"DEX_AUTH_TYPE is no name of a login: {connector}", hint="write DEX_AUTH_TYPE=local, or =ldap"
        )
    if settings.dex_username and settings.dex_password:
        return User(name=settings.dex_username, password=settings.dex_password, connector=connector)
    if settings.dex_username or settings.dex_password:
        there, missing = ("USERNAME", "PASSWORD") if settings.dex_username else ("PASSWORD", "USERNAME")
        raise ConfigError(f"DEX_{there} is set and DEX_{missing} is not", hint="set both, or neither")
    if pod_token.is_file():
        return Token(origin="the pod's token", path=pod_token)
    return User(name="user1@example.com", password="user1", connector=connector, default=True)  # noqa: S106  # public


def _read_token(path: Path, origin: str) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{origin}: cannot read {path}: {reason}", hint="name a file that holds the token") from error


def _read_authority(path: Path | None) -> Path | None:
    if path is None:
        return None
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError as error:
        raise ConfigError(
            f"KFP_CA_CERT: {path} holds no certificate", hint="it must be a PEM file: -----BEGIN CERTIFICATE-----"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"KFP_CA_CERT: cannot read {path}: {error.strerror}", hint="name a file with the CA's certificate"
        ) from error
    return path
