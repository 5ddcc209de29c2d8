"""The configuration of the git folders that we work in, as text; pure. Format: git-config(1), "CONFIGURATION FILE"."""

from src.repository.door import PASSWORD, STALL_SECONDS, USERNAME
from src.repository.url import Repository

Sections = dict[str, dict[str, str]]

_FIXED: Sections = {
    # Content must not depend on whose machine this is, and no code of a repository may run.
    "core": {
        "bare": "false",
        "hooksPath": "/dev/null",
        "attributesFile": "/dev/null",
        "autocrlf": "false",
        "eol": "lf",
        "symlinks": "true",
        "fileMode": "true",
        "fsmonitor": "false",
        "untrackedCache": "false",
        "sparseCheckout": "false",
        "splitIndex": "false",
        "logAllRefUpdates": "false",
        "alternateRefsCommand": "true",  # a program: what we took objects from has no refs
    },
    "gc": {"auto": "0"},
    "maintenance": {"auto": "false"},
    "submodule": {"recurse": "false"},
    # Always packs: they can be kept by a rename each.
    "fetch": {"unpackLimit": "1", "recurseSubmodules": "false", "writeCommitGraph": "false"},
    # Without git-lfs pointers are left as they are, until we ask for the files.
    'filter "lfs"': {"smudge": "", "process": "", "clean": "", "required": "false"},
}


def make_config(repository: Repository, *, object_format: str = "sha1", ssh_command: str = "") -> str:
    """Return the text of a config file for one remote, `origin`; no credentials are in it."""
    sections = {name: dict(values) for name, values in _FIXED.items()}
    sections["core"]["repositoryFormatVersion"] = "0" if object_format == "sha1" else "1"
    if object_format != "sha1":
        sections["extensions"] = {"objectFormat": object_format}
    if ssh_command:
        sections["core"]["sshCommand"] = ssh_command
    sections["http"] = {"lowSpeedLimit": "1", "lowSpeedTime": str(STALL_SECONDS)}
    sections["lfs"] = {"activitytimeout": str(STALL_SECONDS)}
    sections['remote "origin"'] = {"url": repository.url, "tagOpt": "--no-tags"}
    text = "".join(
        f"[{section}]\n" + "".join(f"\t{key} = {_quote(value)}\n" for key, value in values.items())
        for section, values in sections.items()
    )
    return text + _credentials(repository)


def _credentials(repository: Repository) -> str:
    """Return the section that lets git ask us for the credentials, by a helper that reads the environment."""
    if not repository.has_login:
        return ""
    answer = f'printf \'username=%s\\npassword=%s\\n\' "${USERNAME}" "${PASSWORD}"'
    helper = f'!f() {{ test "$1" != get || {answer}; }}; f'
    # The empty one switches the user's helpers off: they must not learn a password that they were not told. A bare
    # user name may be one that they know the password of; they stand before us in the list.
    others = "\thelper = \n" if repository.password else ""
    return f"[credential {_quote(repository.host_url)}]\n{others}\thelper = {_quote(helper)}\n"


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
