"""Where a user's profiles rest, and which one a command goes by.

One file, readable by its owner alone. A profile's key is sent to that profile's address only.
"""

import json
import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from aitbc.cli.failures import CommandError
from node.exit_codes import ExitCode

MAX_FILE_BYTES: Final = 256 * 1024
MAX_KEY_BYTES: Final = 256
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_KEY: Final = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY_BYTES}}}", re.ASCII)
_URL: Final = re.compile(r"https?://[\x21-\x7e]{1,2000}", re.ASCII)


class Profile(NamedTuple):
    """Where a node is and who one is there."""

    name: str
    url: str
    key: str | None


class Profiles(NamedTuple):
    """What the file holds."""

    current: str | None
    by_name: dict[str, Profile]


def get_path() -> Path:
    """Return where the profiles are: under XDG_CONFIG_HOME, by default ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "aitbc" / "profiles.toml"


def load_profiles() -> Profiles:
    """Return all profiles; none where there is no file. Raises `CommandError`, `KeystoreError`."""
    path = get_path()
    if not path.exists():
        return Profiles(None, {})
    import tomllib

    from ledger.keystore import read_private_file

    try:
        document = tomllib.loads(read_private_file(path, MAX_FILE_BYTES).decode())
        found = {
            name: check_profile(Profile(name, members["url"], members.get("key")))
            for name, members in document.get("profiles", {}).items()
        }
        current = document.get("current")
        return Profiles(current if current in found else None, found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CommandError(
            f"{path}: {error}", ExitCode.CONFIGURATION, f"correct {path}, or remove it"
        ) from None


def find_profile(name: str) -> Profile:
    """Return a profile by its name. Raises `CommandError`."""
    found = load_profiles().by_name.get(name)
    if found is None:
        raise CommandError(f"there is no profile {name}", ExitCode.USAGE, "aitbc profile list")
    return found


def save_profiles(profiles: Profiles) -> None:
    """Write the file whole, mode 0600."""
    from ledger.keystore import write_private_file

    # Printable ASCII alone is in here, so a JSON string is a TOML string.
    lines = [f"current = {json.dumps(profiles.current)}"] if profiles.current else []
    for profile in profiles.by_name.values():
        lines += ["", f"[profiles.{profile.name}]", f"url = {json.dumps(profile.url)}"]
        lines += [f"key = {json.dumps(profile.key)}"] if profile.key is not None else []
    path = get_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private_file(path, ("\n".join(lines).lstrip() + "\n").encode(), is_new=False)


def check_profile(profile: Profile) -> Profile:
    """Return a profile that may be kept. Raises `ValueError`."""
    if _NAME.fullmatch(profile.name) is None:
        raise ValueError(f"{profile.name!r} is no name of a profile")
    if _URL.fullmatch(profile.url) is None:
        raise ValueError(f"{profile.url!r} is no address of an API")
    if profile.key is not None and _KEY.fullmatch(profile.key) is None:
        raise ValueError(f"the key of {profile.name} is no API key")
    return profile


def choose_profile(named: str | None) -> Profile | None:
    """Return the profile of this name, or the one in use. Raises `CommandError`."""
    if named is not None:
        return find_profile(named)
    profiles = load_profiles()
    return None if profiles.current is None else profiles.by_name[profiles.current]
