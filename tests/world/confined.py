"""`boltwork` as a container runs it: on a root that is read-only, by whoever owns nothing there.

Only root can become another user: the tests that use this are run as root.
"""

import shlex
import sys
from pathlib import Path

from tests.world.server_process import COMMAND

# All but the data folder is read-only, /tmp too. Where the interpreter lies below a closed folder,
# that folder is opened in there, and there only. HOME is unset where it is empty.
CONFINED = """
exec unshare --mount bash -euc '
    mount --make-rprivate /
    mount --bind "$BOLTWORK_DATA" "$BOLTWORK_DATA"
    if [[ -n "$CLOSED" ]]; then
        exec 7<"$BASE"
        mount -t tmpfs -o mode=755 none "$CLOSED"
        mkdir -p "$BASE"
        mount --no-canonicalize --bind /proc/self/fd/7 "$BASE"
    fi
    mount -o remount,bind,ro /
    cd "$BOLTWORK_DATA"
    [[ -n "${HOME-}" ]] || unset HOME
    exec setpriv --reuid "$AS_USER" --regid "$AS_GROUP" --clear-groups "$WORLD" "$@"
' bash "$@"
"""


def confined(folder: Path, uid: int, gid: int) -> Path:
    """Write a command to a folder that is `boltwork`, run by this user in such a place."""
    base = Path(sys.base_prefix)
    closed = next((up for up in base.parents if not up.stat().st_mode & 1), "")
    told = {"BASE": base, "CLOSED": closed, "WORLD": COMMAND, "AS_USER": uid, "AS_GROUP": gid}
    lines = [f"export {name}={shlex.quote(str(value))}" for name, value in told.items()]
    command = folder / "confined"
    command.write_text("#!/usr/bin/env bash\nset -euo pipefail\n" + "\n".join(lines) + CONFINED)
    command.chmod(0o755)
    return command
