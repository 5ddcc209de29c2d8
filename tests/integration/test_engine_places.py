"""The engine where the docker command finds it: a context with certificates, spoken to over TLS."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from src.engine import open_engine
from src.errors import ImageError
from src.settings import Settings, load_settings
from tests.integration.engines import private_engine


@dataclass(frozen=True)
class Secured:
    """An engine that speaks TLS, and the folders of who may and who may not."""

    host: str
    good: Path
    stranger: Path


def openssl(*words: str, folder: Path) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def make_certificates(folder: Path) -> None:
    """Make a CA, a server's and a client's certificate."""
    folder.mkdir()
    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=ca", folder=folder)
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", *key, "-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", f"/CN={name}", folder=folder)
        (folder / f"{name}.ext").write_text(extension + "\n")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"),
            *("-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext"),
            folder=folder,
        )
    (folder / "cert.pem").write_bytes((folder / "client.pem").read_bytes())
    (folder / "key.pem").write_bytes((folder / "client-key.pem").read_bytes())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    good, stranger = (tmp_path_factory.mktemp("tls") / name for name in ("good", "stranger"))
    make_certificates(good)
    make_certificates(stranger)
    port = 20_000 + os.getpid() % 10_000
    tls = [
        "--tlsverify",
        f"--tlscacert={good}/ca.pem",
        f"--tlscert={good}/server.pem",
        f"--tlskey={good}/server-key.pem",
    ]
    with private_engine(Path(f"/tmp/t{os.getpid()}"), more=("--host", f"tcp://127.0.0.1:{port}", *tls)):
        yield Secured(host=f"tcp://127.0.0.1:{port}", good=good, stranger=stranger)


def settings(folder: Path, **environ: str) -> Settings:
    return load_settings(Path(os.devnull), {"CACHE_DIR": str(folder), "DOCKER_CONFIG": str(folder), **environ})


def write_context(folder: Path, host: str, certificates: Path) -> None:
    digest = hashlib.sha256(b"far").hexdigest()
    meta = folder / "contexts" / "meta" / digest
    meta.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": False}
    (meta / "meta.json").write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    (folder / "config.json").write_text(json.dumps({"currentContext": "far"}))
    tls = folder / "contexts" / "tls" / digest / "docker"
    tls.mkdir(parents=True)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tls / name).write_bytes((certificates / name).read_bytes())


def version(settings: Settings) -> str:
    with open_engine(settings) as client:
        return str(client.version()["ApiVersion"])


def test_a_context_with_certificates(secured: Secured, tmp_path: Path) -> None:
    write_context(tmp_path, secured.host, secured.good)
    assert version(settings(tmp_path))
    named = ["docker", "--config", str(tmp_path), "version", "--format", "{{.Server.APIVersion}}"]
    environ = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
    printed = subprocess.run(named, capture_output=True, text=True, check=True, env=environ).stdout.strip()
    assert printed == version(settings(tmp_path))


def test_certificates_by_variables(secured: Secured, tmp_path: Path) -> None:
    by_variables = {"DOCKER_HOST": secured.host, "DOCKER_TLS_VERIFY": "1"}
    assert version(settings(tmp_path, DOCKER_CERT_PATH=str(secured.good), **by_variables))
    with pytest.raises(ImageError, match="does not answer as it should"):
        version(settings(tmp_path, DOCKER_CERT_PATH=str(secured.stranger), **by_variables))
    with pytest.raises(ImageError):
        version(settings(tmp_path, DOCKER_HOST=secured.host))
