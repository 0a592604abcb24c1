"""Notices: tried by the book, with the same bytes each time, until the receiver has them."""

import asyncio
from datetime import timedelta

import pytest

from app import advance
from app.advance import Applied, Replayed
from db import webhooks
from db.webhooks import Try
from payments.public_http import Away, PublicHttp, Refused
from statemachine.notice import PAUSES_S, Accepted, NoticeState
from statemachine.promises import Notify
from tests.world.notice_fixtures import SECRET, PostOffice
from tests.world.notice_server import NoticeServer, said

BROKEN = said(500, b"<h1>broken</h1>")


async def test_a_notice_is_tried_by_the_book_and_given_up_after_a_day(
    post_office: PostOffice,
) -> None:
    """At once, after 1, 5 and 30 s, then with growing pauses for a day; each try is logged."""
    async with NoticeServer([BROKEN]).running() as server:
        webhook, _ = await post_office.told(server.url, server.receiver)
        began, came = post_office.clock(), []
        for pause_s in PAUSES_S:
            if pause_s:  # not before its time
                post_office.clock.forward(seconds=pause_s - 0.5)
                assert await post_office.serve(server.receiver) == pytest.approx(0.5)
                post_office.clock.forward(seconds=0.5)
            assert await post_office.serve(server.receiver) is None
            came.append(post_office.clock() - began)
        assert len(server.came) == len(PAUSES_S)
        assert came[:4] == [timedelta(seconds=s) for s in (0, 1, 6, 36)]
        assert came[-1] == timedelta(days=1)
        assert list(PAUSES_S[1:]) == sorted(PAUSES_S[1:])
        post_office.clock.forward(days=30)
        assert await post_office.serve(server.receiver) is None  # nothing more is to come
    [notice] = await post_office.log(webhook)
    assert notice.state is NoticeState.GIVEN_UP
    assert [(t.number, t.status, t.said) for t in notice.tried] == [
        (number, 500, "<h1>broken</h1>") for number in range(1, 13)
    ]
    assert not await post_office.shell.outbox.is_staged(Notify(server.receiver).key)


async def test_each_try_sends_the_same_bytes_under_the_same_id(post_office: PostOffice) -> None:
    """Made once and signed once; only the time of the try is another."""
    async with NoticeServer([BROKEN, BROKEN, said(204)]).running() as server:
        webhook, _ = await post_office.told(server.url, server.receiver)
        for pause_s in PAUSES_S[:3]:
            post_office.clock.forward(seconds=pause_s)
            await post_office.serve(server.receiver)
    first, second, third = server.came
    assert first.body == second.body == third.body and first.told["made"] == 1
    names = [each.headers["webhook-id"] for each in server.came]
    assert names == [first.told["noticeId"]] * 3
    assert [int(each.headers["webhook-timestamp"]) for each in server.came] == [
        int(post_office.clock().timestamp()) - ago for ago in (6, 5, 0)
    ]
    assert [each.headers["x-webhook-attempt"] for each in server.came] == ["1", "2", "3"]
    [notice] = await post_office.log(webhook)
    assert notice.state is NoticeState.DELIVERED


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (said(200, b"{}"), NoticeState.DELIVERED),
        (said(202), NoticeState.DELIVERED),
        (said(410, b"no more"), NoticeState.GIVEN_UP),
        (said(404), NoticeState.WANTED),
        (said(401), NoticeState.WANTED),
        (said(503), NoticeState.WANTED),
        (b"no HTTP at all", NoticeState.WANTED),
        (b"HTTP/1.1 200 Said\r\nContent-Length: 9\r\n\r\nwhole", NoticeState.DELIVERED),
        (said(200, b"\x00\xff" * 4_500), NoticeState.DELIVERED),
    ],
)  # fmt: skip
async def test_what_an_answer_means(
    post_office: PostOffice, answer: bytes, state: NoticeState
) -> None:
    """2xx is there, 410 wants no more, all else is tried again; a cut or odd body is no matter."""
    async with NoticeServer([answer]).running() as server:
        webhook, _ = await post_office.told(server.url, server.receiver)
        await post_office.serve(server.receiver)
    [notice] = await post_office.log(webhook)
    assert notice.state is state
    assert len(notice.tried[0].said) <= 300


async def test_a_redirect_is_not_followed(post_office: PostOffice) -> None:
    """Wherever it leads: it is a miss."""
    async with (
        NoticeServer().running() as inner,
        NoticeServer([said(307, b"", f"Location: {inner.url}\r\n")]).running() as server,
    ):
        webhook, _ = await post_office.told(server.url, server.receiver)
        await post_office.serve(server.receiver)
        assert inner.came == []
    [notice] = await post_office.log(webhook)
    assert notice.state is NoticeState.WANTED
    assert notice.tried[0].status == 307


async def test_who_does_not_answer_in_time_has_missed_it(post_office: PostOffice) -> None:
    """The log says so, and the next try has its pause."""
    async with NoticeServer([None, said(200)]).running() as server:
        webhook, _ = await post_office.told(server.url, server.receiver)
        await post_office.serve(server.receiver)
        [notice] = await post_office.log(webhook)
        assert notice.state is NoticeState.WANTED
        assert notice.tried[0].status is None and "in time" in notice.tried[0].said
        post_office.clock.forward(seconds=1)
        await post_office.serve(server.receiver)
    [notice] = await post_office.log(webhook)
    assert notice.state is NoticeState.DELIVERED


async def test_a_receiver_has_one_promise_due_when_his_first_notice_is(
    post_office: PostOffice,
) -> None:
    """However many wait for him; who has missed one comes after those who have not."""
    db, key = post_office.db, ""
    async with NoticeServer([BROKEN, BROKEN, said(200)]).running() as server:
        key = Notify(server.receiver).key
        staged = (
            "SELECT scheduled_at, priority FROM procrastinate_jobs"
            " WHERE lock = %(key)s AND status = 'todo'"
        )
        _, job = await post_office.told(server.url, server.receiver)
        await post_office.again(job, "failed")
        [promise] = await db.read_all(staged, key=key)
        assert (promise["scheduled_at"], promise["priority"]) == (None, 0)
        await post_office.serve(server.receiver)  # one was missed, the other is due
        [promise] = await db.read_all(staged, key=key)
        assert (promise["scheduled_at"], promise["priority"]) == (None, -1)
        await post_office.serve(server.receiver)  # now both have their pause
        [promise] = await db.read_all(staged, key=key)
        assert promise["scheduled_at"] == post_office.clock() + timedelta(seconds=1)
        post_office.clock.forward(seconds=1)
        await post_office.serve(server.receiver)
        await post_office.serve(server.receiver)
        assert await db.read_all(staged, key=key) == []


async def test_a_notice_is_sent_again_when_its_owner_wants_it(post_office: PostOffice) -> None:
    """Delivered, waiting or given up: at once, with all its tries anew, and the same bytes."""
    async with NoticeServer([said(200), said(410), said(200)]).running() as server:
        webhook, _ = await post_office.told(server.url, server.receiver)
        opened = await post_office.desk.opened_by_secret(webhook, SECRET)
        await post_office.serve(server.receiver)
        for _ in range(2):
            await post_office.desk.resend(opened, None)
            await post_office.serve(server.receiver)
    assert len({each.body for each in server.came}) == 1 and len(server.came) == 3
    [notice] = await post_office.log(webhook)
    assert notice.state is NoticeState.DELIVERED
    assert [t.status for t in notice.tried] == [200, 410, 200]


async def test_what_cant_be_told_of_holds_up_no_other(post_office: PostOffice) -> None:
    """A notice whose words can't be made says what happened, and to what, and nothing more."""
    post_office.bodies.breaks = True
    async with NoticeServer().running() as server:
        await post_office.told(server.url, server.receiver)
        await post_office.serve(server.receiver)
        post_office.bodies.breaks = False
        await post_office.told(server.url, server.receiver)
        await post_office.serve(server.receiver)
    broken, whole = [came.told for came in server.came]
    assert broken["event"] == "job.complete" and broken["of"] == "mine"
    assert "made" not in broken and whole["made"] == 2


async def test_a_try_is_logged_once(post_office: PostOffice) -> None:
    """Two keepers that made the same try, or one that tells of it twice: the second is a replay."""
    async with NoticeServer().running() as server:
        webhook, _ = await post_office.told(server.url, server.receiver)
    [notice] = await post_office.log(webhook)
    tried = Try(1, post_office.clock(), 200, 5, "ok")
    tell = advance.notices.answered
    told = await asyncio.gather(
        *(post_office.shell.do(tell, notice.id, tried, Accepted()) for _ in range(5))
    )
    assert sorted(map(str, told)) == sorted(map(str, [Applied(), *[Replayed()] * 4]))


async def test_a_promise_that_was_lost_is_made_again(post_office: PostOffice) -> None:
    """A receiver with something due and no promise is found, and promised anew, once."""
    outbox, receiver = post_office.shell.outbox, "http://127.0.0.1:9"
    await post_office.told(f"{receiver}/hook", receiver)
    await post_office.db.run("lose", lambda tx: outbox.withdraw(tx, Notify(receiver)))
    later = post_office.clock() + timedelta(minutes=5)
    assert await webhooks.forgotten(post_office.db, later, 10) == [receiver]
    recover = advance.notices.recover
    assert await post_office.shell.do(recover, receiver) == Applied()
    assert await post_office.shell.do(recover, receiver) == Replayed()
    assert await webhooks.forgotten(post_office.db, later, 10) == []


async def test_what_was_told_is_deleted_a_month_later(post_office: PostOffice) -> None:
    """With its log; what still waits, or was sent since, stays."""
    async with NoticeServer([said(200), BROKEN]).running() as server:
        done, _ = await post_office.told(server.url, server.receiver)
        await post_office.serve(server.receiver)
        waits, _ = await post_office.told(server.url, server.receiver)
        await post_office.serve(server.receiver)
    post_office.clock.forward(days=31)
    before = post_office.clock() - advance.notices.KEPT
    purged = await post_office.db.run("purge", lambda tx: webhooks.purge(tx, before, 100))
    assert purged == 1
    assert await post_office.log(done) == [] and len(await post_office.log(waits)) == 1


# ------------------------------------------------------------------------------- what is not sent


@pytest.mark.parametrize("inner", ["10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "127.0.0.1"])
async def test_a_name_that_leads_inside_is_not_asked(inner: str) -> None:
    """The address that is connected to is the one that was vetted, at each try anew."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return [inner]

    async with NoticeServer(host="rebind.example").running() as server:
        http = PublicHttp(resolve=resolve)
        for _ in range(2):
            answer = await http.post(f"https://rebind.example:{server.port}/x", b"{}", {})
            assert isinstance(answer, Refused)
        await http.close()
    assert asked == ["rebind.example"] * 2 and server.came == []


async def test_a_name_that_changes_its_address_is_asked_where_it_was_vetted() -> None:
    """It is resolved once for a try: no second answer of its name server is heard."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])

    async def resolve(host: str, port: int) -> list[str]:
        return next(answers)

    async with NoticeServer(host="rebind.example").running() as server:
        http = PublicHttp(allow_loopback=True, resolve=resolve)
        told = await http.post(server.url, b"{}", {"X-Webhook-Event": "x"})
        assert not isinstance(told, Refused | Away) and told.status == 200
        assert server.came[0].headers["host"] == f"rebind.example:{server.port}"
        assert isinstance(await http.post(server.url, b"{}", {}), Refused)
        await http.close()
    assert len(server.came) == 1
