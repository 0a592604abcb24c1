"""`boltwork ask` and `boltwork watch`, run as a script runs them, and judged by exit codes."""

import asyncio
import json
import os
import re
import shlex
import signal
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.buyer.client import Client
from app.buyer.session import open_session
from app.buyer.wallets.stub import StubWallet
from app.commands.cli import COMMANDS, loaded
from db.audit import audit
from payments.lnbits import LnbitsRail
from payments.stub import StubRail
from tests.world.ask_buyer import Buyer
from tests.world.fault_proxy import FaultProxy
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import LnbitsServer
from tests.world.nwc_service import local_relay, nwc_service, purse_of
from tests.world.patience import PATIENCE_S
from tests.world.rail_fixtures import wall_clock
from tests.world.scripted_agent import ScriptedAgent
from tests.world.server_process import COMMAND

README = Path(__file__).parents[2] / "README.md"
PRICE_SATS = 21  # at most, of "hello" on the scripted agent


@pytest.fixture
async def buyer(instance: Instance, tmp_path: Path) -> AsyncIterator[Buyer]:
    """A buyer of a running instance; at the end its books are right."""
    yield Buyer(instance.url, tmp_path / "home", {})
    assert await audit(instance.built.db) == []


# ---------------------------------------------------------------------- exit codes


async def test_a_complete_job_is_0(buyer: Buyer) -> None:
    """The result alone is on standard output; how it came about is on standard error."""
    ended = await buyer.run("ask", "-", typed="hello\n")
    assert ended.code == 0, ended.err
    assert ended.out == "done: hello\n"
    for line in ("  complete\n", "for the evaluation", "were sent."):
        assert line in ended.err
    assert "\x1b" not in ended.err and "done: hello" not in ended.err
    # Whoever is interrupted can go on from the first payment on: the name comes before it.
    assert ended.err.index("boltwork watch ") < ended.err.index("paid 5 sats")


async def test_json_is_one_object_and_progress_goes_elsewhere(buyer: Buyer) -> None:
    """With --json a script reads the job on standard output, and a person standard error."""
    ended = await buyer.run("ask", "hello", "--json")
    assert ended.code == 0 and ended.out.count("\n") == 1
    assert ended.told["state"] == "complete" and ended.told["result"] == "done: hello"
    assert "paid 5 sats for the evaluation" in ended.err


async def test_a_failed_job_is_1_and_a_rejected_one_is_3(buyer: Buyer) -> None:
    """What broke was paid back; what the agent does not take has its reason."""
    failed = await buyer.run("ask", "BREAK-WORK")
    assert failed.code == 1 and "were sent." in failed.err and not failed.out
    rejected = await buyer.run("ask", "REJECT", "--json")
    assert rejected.code == 3 and "not done here" in str(rejected.told["reason"])


async def test_a_budget_too_small_is_2_before_anything_is_paid(
    buyer: Buyer, instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """Nothing is created, nothing is paid, and the sentence names both numbers."""
    for words in (
        ("--max-sats", "10"), ("--max-sats", "10", "--l402"), ("--budget-per-day", "10"),
        ("--max-sats", "10", "--dry-run"),
    ):  # fmt: skip
        ended = await buyer.run("ask", "hello", *words)
        assert ended.code == 2 and "10" in ended.err, ended
    ended = await buyer.run("ask", "hello", "--json", BUYER_SATS_PER_DAY="10")
    assert ended.code == 2 and ended.told["exitCode"] == 2 and "10 sats a day" in ended.err
    assert not scripted_agent.calls
    assert await instance.built.db.read_all("SELECT id FROM job") == []


async def test_a_day_ends_for_all_runs(buyer: Buyer) -> None:
    """What one run has paid is missing in the next one's budget."""
    budget = str(PRICE_SATS + 1)
    assert (await buyer.run("ask", "hello", "--budget-per-day", budget)).code == 0
    second = await buyer.run("ask", "hello", "--budget-per-day", budget)
    assert second.code == 2 and f"budget of {budget} sats a day" in second.err


@pytest.mark.one_instance
@pytest.mark.parametrize(
    "words",
    [
        ("",), ("x" * 20_001,), ("hello", "--session"), ("hello", "--session", "--l402"),
        ("hello", "--wallet", "lnbits"), ("hello", "--wallet", "nwc"), ("hello", "--max-sats", "0"),
        ("hello", "--refund-to", "nowhere"), ("hello", "--session", "--refund-to", "a@example.org"),
    ],
)  # fmt: skip
async def test_what_is_asked_for_wrongly_is_2(
    instance: Instance, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """One sentence says what is missing, and nothing is paid."""
    ended = await Buyer(instance.url, tmp_path, {}).run("ask", *words)
    assert ended.code == 2 and ended.err and "paid 5" not in ended.err
    assert await instance.built.db.read_all("SELECT id FROM invoice WHERE state = 'settled'") == []


async def test_what_the_wallet_cannot_pay_is_4(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, lnbits_rail: LnbitsRail
) -> None:
    """An LNbits that takes no key, or is not there, pays nothing: and the job can be followed."""
    async with instance_of(database_url, tmp_path, rail=lnbits_rail) as instance:
        buyer = Buyer(instance.url, tmp_path, {"BUYER_LNBITS_KEY": "planted"})
        for url in (lnbits.url, "http://127.0.0.1:9"):
            ended = await buyer.run("ask", "hello", "--json", BUYER_LNBITS_URL=url)
            assert ended.code == 4 and ended.told["jobId"], ended
            assert "boltwork watch" in ended.err and "planted" not in ended.err + ended.out
        ended = await buyer.run(
            "ask", "hello", BUYER_LNBITS_URL=lnbits.url, BUYER_LNBITS_KEY=lnbits.buyer.adminkey
        )
        assert ended.code == 0 and "were sent." in ended.err, ended


async def test_nobody_there_is_5(tmp_path: Path) -> None:
    """An instance that can't be reached is named."""
    buyer = Buyer("http://127.0.0.1:9", tmp_path, {})
    for words in (("ask", "hello", "--json"), ("watch", "0" * 32)):
        ended = await buyer.run(*words)
        assert ended.code == 5 and "http://127.0.0.1:9 can't be reached" in ended.err


def test_the_readme_tells_of_every_exit_code() -> None:
    """Its table has a row for each, and the help names them."""
    text = README.read_text()
    for code in ("0", "1", "2", "3", "4", "5", "130"):
        assert f"\n| {code} | " in text
    assert "5 no server" in (loaded("ask").help or "")


async def test_each_line_of_the_readme_buys(buyer: Buyer, instance: Instance) -> None:
    """Every line of it that buys does."""
    text = README.read_text()
    made = await instance.create("hello")
    async with Client(instance.url) as client:
        session = await open_session(client, 500, StubWallet(client))
    lines = re.findall(r"(?m)^ {4}boltwork ((?:ask|watch) [^#\n]*)", text)
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line.replace("JOB", made["jobId"]))
        ended = await buyer.run(*words, BOLTWORK_MACAROON=session.macaroon)
        assert ended.code == 0, (line, ended)


# ------------------------------------------------------------------- ways to pay


async def test_an_ask_by_the_call_is_paid_once(buyer: Buyer) -> None:
    """--l402 pays one invoice, shows the proof, and takes back what was not needed."""
    ended = await buyer.run("ask", "hello", "--l402", "--json")
    assert ended.code == 0 and ended.told["result"] == "done: hello"
    [paid, summed] = [line for line in ended.err.splitlines() if line.startswith("  paid ")]
    amount, _, _ = paid.removeprefix("  paid ").partition(" for ")
    assert summed.startswith(f"  paid {amount} for the evaluation and work;")


async def test_a_session_pays(buyer: Buyer, instance: Instance) -> None:
    """--session spends from the balance, by a macaroon that is in the environment only."""
    async with Client(instance.url) as client:
        session = await open_session(client, 1_000, StubWallet(client))
        child = session.narrowed(budget_sats=PRICE_SATS, endpoints=["request"])
    with_it = {"BOLTWORK_MACAROON": child.macaroon}
    ended = await buyer.run("ask", "hello", "--session", "--json", **with_it)
    assert ended.code == 0 and ended.told["result"] == "done: hello", ended
    assert ended.told["debitedSats"] and "  paid" not in ended.err
    elsewhere = await buyer.run(
        "ask", "hello", "--session", "--refund-to", "a@example.org", "--json", **with_it
    )
    assert elsewhere.code == 2 and elsewhere.told["exitCode"] == 2
    assert "--refund-to can't be given with --session" in elsewhere.err
    over = await buyer.run("ask", "hello", "--session", **with_it)
    assert over.code == 2 and "budget" in over.err and child.macaroon not in over.err


async def test_nwc_pays(database_url: str, tmp_path: Path) -> None:
    """BUYER_NWC alone is enough to pay by it."""
    rail = StubRail(tmp_path / "s.sqlite3", wall_clock)
    async with (
        local_relay() as relay,
        instance_of(database_url, tmp_path, rail=rail) as instance,
        nwc_service(relay, purse_of(rail)) as service,
    ):
        buyer = Buyer(instance.url, tmp_path, {"BUYER_NWC": service.address})
        ended = await buyer.run("ask", "hello")
        assert ended.code == 0 and "were sent." in ended.err, ended
        assert [method for method, _ in service.asked].count("pay_invoice") == 2


async def test_a_dry_run_buys_nothing(buyer: Buyer, instance: Instance) -> None:
    """It tells what the request may cost."""
    ended = await buyer.run("ask", "hello", "--dry-run", "--json")
    assert ended.code == 0 and ended.told["totalSats"] == (
        int(str(ended.told["evalSats"])) + int(str(ended.told["workSats"]))
    )
    assert await instance.built.db.read_all("SELECT id FROM job") == []


# ------------------------------------------------------------- interrupted, watched


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_an_interrupted_purchase_goes_on(
    buyer: Buyer, instance: Instance, scripted_agent: ScriptedAgent, how: signal.Signals
) -> None:
    """Killed after the first payment, it is followed by its name, paid once, and refunded."""
    scripted_agent.go.clear()
    process = await buyer.begin("ask", "hello")
    said = ""
    while "paid 5 sats" not in said:
        said += (await asyncio.wait_for(process.err.readline(), PATIENCE_S)).decode()
    process.send_signal(how)
    assert (await process.ended()).code == (130 if how is signal.SIGINT else -how)
    job_id = said.split("job ")[1].split()[0]
    scripted_agent.go.set()
    watched = await buyer.run("watch", job_id, "--wallet", "stub", "--json")
    assert watched.code == 0, watched.err
    states = [json.loads(line)["state"] for line in watched.out.splitlines()]
    assert states[-1] == "complete" and "executing" in states
    last = json.loads(watched.out.splitlines()[-1])
    assert [owed["refundState"] for owed in last["refunds"]] == ["paid"]
    assert scripted_agent.calls["work", "hello"] == 1
    paid = await instance.built.db.read_all("SELECT id FROM invoice WHERE state = 'settled'")
    assert len(paid) == 2


async def test_a_watch_follows_and_pays_nothing_by_itself(buyer: Buyer, instance: Instance) -> None:
    """Without a wallet it shows what to pay; it is left with exit code 1 when it takes too long."""
    made = await instance.create("hello")
    ended = await buyer.run("watch", made["jobId"], "--wait", "1")
    assert ended.code == 1 and "To continue" in ended.err
    assert made["evalInvoice"]["paymentRequest"] in ended.err
    done = await instance.to_end("hello")
    assert (await buyer.run("watch", done["jobId"])).code == 0
    await instance.post(f"/api/jobs/{made['jobId']}/cancel")  # which lets go of the poll held there
    for unknown, code in (("0" * 32, 1), ("../readyz", 2)):
        assert (await buyer.run("watch", unknown)).code == code


async def test_a_server_that_goes_away_leaves_a_name(instance: Instance, tmp_path: Path) -> None:
    """What was paid for goes on there: exit code 5, and how to follow it."""
    async with FaultProxy.before(instance.url) as proxy:
        proxy.inject("reset", "GET", "/api/jobs", times=100)
        ended = await Buyer(proxy.url, tmp_path, {}).run("ask", "hello", "--json")
    assert ended.code == 5 and f"boltwork watch {ended.told['jobId']}" in ended.err


# ------------------------------------------------------------------------ the shell


async def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """--show-completion prints what bash sources; asked by it, boltwork names what can follow."""
    shown = await Buyer("", tmp_path, {}).run("--show-completion", "bash")
    assert shown.code == 0 and "_BOLTWORK_COMPLETE=complete_bash" in shown.out
    asked = "COMP_WORDS=(boltwork {}); COMP_CWORD={}; _boltwork_completion boltwork"
    script = shown.out
    for words, at in (("wa", 1), ("ask --max", 2)):
        script += f"\n{asked.format(words, at)}; echo ${{COMPREPLY[@]}}"
    bash = await asyncio.create_subprocess_exec(
        "bash", "--norc", "-c", script, stdout=PIPE, stderr=PIPE,
        env={"PATH": f"{COMMAND.parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    out, err = await bash.communicate()
    assert out.decode().split() == ["watch", "--max-sats"], err.decode()


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".bashrc"),
        ("zsh", ".zfunc/_boltwork"),
        ("fish", ".config/fish/completions/boltwork.fish"),
    ],
)
async def test_completion_is_installed(tmp_path: Path, shell: str, file: str) -> None:
    """For the shell that is named, whatever shell or none asks, and in the home of whoever asks."""
    ended = await Buyer("", tmp_path, {"HOME": str(tmp_path)}).run("--install-completion", shell)
    assert ended.code == 0, ended.err
    assert "boltwork" in (tmp_path / file).read_text()


async def test_completion_without_the_name_of_a_shell_is_told_them(tmp_path: Path) -> None:
    """Nothing is guessed from who called: exit code 2, and nothing is written."""
    for words in (("--install-completion",), ("--show-completion", "tcsh")):
        ended = await Buyer("", tmp_path, {"HOME": str(tmp_path)}).run(*words)
        assert ended.code == 2 and "completion" in ended.err, ended.err
    assert not await asyncio.to_thread(os.listdir, tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_they_say_themselves(name: str) -> None:
    """The help that is shown without importing a command is the beginning of its own."""
    own = " ".join((loaded(name).help or "").split())
    assert own.startswith(COMMANDS[name].help)
