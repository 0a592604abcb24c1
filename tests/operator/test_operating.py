"""Operating: what docs/operating.md says is done here; container, unit and stack are held to it."""

import configparser
import json
import os
import pwd
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx2
import yaml

from tests.world.confined import confined
from tests.world.environments import BARE, Built, copied, tracked, with_packages
from tests.world.operating_page import DOCKERFILE, ROOT, follow
from tests.world.patience import PATIENCE_S
from tests.world.server_process import COMMAND, ServerProcess


def test_a_backup_is_made_and_restored_as_the_page_says(open_folder: Path) -> None:
    """Backup under a running server, restore into an empty folder, the looks after it, and the job
    that was bought before is there, complete, with its result and its receipt's key."""
    data = open_folder / "data"
    data.mkdir(mode=0o711)
    server, backup = ServerProcess(data), open_folder / "backup"
    url = server.start()
    asked = subprocess.run(
        [COMMAND, "ask", "Say hello.", "--json", "--url", url],
        env=server.environment | {"XDG_STATE_HOME": str(open_folder)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    job = json.loads(asked.stdout)
    keys = httpx2.get(f"{url}/.well-known/jwks.json", timeout=PATIENCE_S).json()
    assert "is in" in follow("Backup", server, backup)
    server.stop()

    assert "Payouts stand still" in follow("Restore", server, backup)
    said = follow("After a restore", server, backup)
    assert "Payouts stand still until" in said and said.endswith("paying-out is on\n")
    url = server.start()
    found = httpx2.get(f"{url}/api/jobs/{job['jobId']}", timeout=PATIENCE_S).json()
    assert (found["state"], found["result"]) == ("complete", job["result"])
    assert httpx2.get(f"{url}/.well-known/jwks.json", timeout=PATIENCE_S).json() == keys
    server.stop()


def test_the_container_copies_what_there_is_and_is_nobody_special() -> None:
    """Each path that the Dockerfile copies is in the project and let through by .dockerignore; it
    runs as a user of its own, and asks its health where the server answers it."""
    let_through = (ROOT / ".dockerignore").read_text().split()
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists() and f"!{source}" in let_through, source
    last = DOCKERFILE.split("\nFROM ")[-1]
    assert "\nUSER boltwork\n" in last and "/api/healthz" in last and "VOLUME /data" in last
    assert '\nCMD ["boltwork", "serve"]' in last and "pip" not in last.split("\n", 1)[1]


def test_the_image_is_built_of_what_the_dockerfile_copies(built: Built, tmp_path: Path) -> None:
    """The last command of the first stage, run where nothing but the copied paths is, installs just
    the files that the wheel of the whole project has."""
    environment = with_packages(tmp_path / "venv", "build")
    source = tmp_path / "src"
    lines = re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE)
    paths = [path for line in lines for path in line.split()[:-1]]
    copied([n for n in tracked() if any(Path(n).is_relative_to(path) for path in paths)], source)
    [command] = re.findall(r"(?m)^RUN (/opt/boltwork/bin/python .+)$", DOCKERFILE)
    words = command.replace("/opt/boltwork/bin/python", str(environment.python)).split()
    done = subprocess.run(words, cwd=source, env=BARE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    installed = next(environment.folder.glob("lib/*/site-packages"))
    theirs = [name for name in zipfile.ZipFile(built.wheel).namelist() if ".dist-info/" not in name]
    assert theirs and [name for name in theirs if not (installed / name).is_file()] == []


def test_it_serves_from_a_tree_that_nobody_may_write_to(open_folder: Path) -> None:
    """On a read-only root, as a user who may write to the data folder alone, as the container and
    the unit run it: it serves, and the container's own question finds it well, whatever proxy the
    container was given."""
    data = open_folder / "data"
    data.mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    server = ServerProcess(data)
    server.command = confined(open_folder, nobody.pw_uid, nobody.pw_gid)
    server.environment |= {"HOME": str(data)}
    port = server.start().rpartition(":")[2]
    question = re.findall(r'CMD \["python", "-c", "(.*)"\]', DOCKERFILE)[0]
    asked = [sys.executable, "-c", question.replace("8402", port)]
    proxied = os.environ | {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    assert subprocess.run(asked, capture_output=True, env=proxied).returncode == 0
    status = Path(f"/proc/{server.pid}/status").read_text()
    assert re.search(rf"(?m)^Uid:\t{nobody.pw_uid}\t{nobody.pw_uid}", status)
    roots = [line.split() for line in Path(f"/proc/{server.pid}/mounts").read_text().splitlines()]
    assert any(root[1] == "/" and "ro" in root[3].split(",") for root in roots)
    assert server.stop() == 0


def test_the_stack_publishes_boltwork_and_nothing_else() -> None:
    """compose.yaml: one port, on this host only; LNbits and Postgres publish none; no secret is
    written down; the root is read-only."""
    stack = yaml.safe_load((ROOT / "compose.yaml").read_text())
    services = stack["services"]
    assert set(services) == {"boltwork", "postgres", "lnbits"}
    assert {name for name, each in services.items() if "ports" in each} == {"boltwork"}
    assert all(port.startswith("127.0.0.1:") for port in services["boltwork"]["ports"])
    assert services["boltwork"]["read_only"] and services["boltwork"]["cap_drop"] == ["ALL"]
    for service in services.values():
        for name, value in service["environment"].items():
            if re.search("SECRET|PASSWORD|KEY|TOKEN", name):
                assert value.startswith("${"), name
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(stack["volumes"])


def test_the_unit_is_a_unit(tmp_path: Path) -> None:
    """It serves as a user of its own who may write to one folder; systemd reads all of it, with
    the program where it is here, and has nothing to say."""
    path = ROOT / "scripts" / "deploy" / "boltwork.service"
    here = tmp_path / path.name
    here.write_text(path.read_text().replace("/opt/boltwork/bin/boltwork", str(COMMAND)))
    read = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True
    )
    assert (read.returncode, read.stdout, read.stderr) == (0, "", "")
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as its manual has it
    unit.read(path)
    service = unit["Service"]
    assert service["NoNewPrivileges"] == service["DynamicUser"] == "yes"
    assert service["ProtectSystem"] == "strict" and service["StateDirectory"] == "boltwork"
    assert service["Environment"] == "BOLTWORK_DATA=/var/lib/boltwork"
    assert service["ExecStart"].endswith("boltwork serve")
