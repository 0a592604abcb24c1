"""Stories of a buyer who is told by webhook what becomes of a job, whatever dies on the way."""

from collections import defaultdict

from tests.runs.crash_buyer import Buyer

SECRET = "the-secret-of-the-buyer"
ALL_THERE = """
SELECT 1 AS there FROM (SELECT count(*) AS n, count(*) FILTER (WHERE state = 'delivered') AS there
                          FROM notice) AS told WHERE n = 2 AND there = n
"""


async def told(buyer: Buyer) -> None:
    """A job whose price and end its buyer is told of; the last notice once more."""
    notify = {"url": buyer.receiver.url, "secret": SECRET}
    made = await buyer.create("hello", notify=notify)
    await buyer.pay(made["evalInvoice"])
    await buyer.to_the_end()
    await buyer.until_there(ALL_THERE)
    if "sent again" not in buyer.done:
        answer = await buyer.call(
            "POST",
            f"{made['notify']['deliveries']}/redeliver",
            headers={"X-Webhook-Secret": SECRET},
        )
        assert answer.status_code == 202, answer.text
        buyer.done.add("sent again")
    await buyer.until_there(ALL_THERE)
    said = defaultdict(set)
    for came in buyer.receiver.came:
        said[came.headers["webhook-id"]].add(came.body)
    assert len(said) == 2 and all(len(bodies) == 1 for bodies in said.values())
    await buyer.take_refunds()


async def notices_are_lost(buyer: Buyer) -> None:
    """The task engine's rows are gone, and with them the promise to send what waits."""
    await buyer.books.ask("DELETE FROM procrastinate_jobs WHERE task_name = 'Notify'")
    buyer.clock.forward(300)
