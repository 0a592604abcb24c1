"""The model of `scripts/hosts --rates`: what is fitted to one run, and what it says of others."""

from pytest import approx

from tests.runs.hosts_model import CPU, Model

IDLE = {CPU + "server": 0.01, CPU + "leader": 0.02, CPU + "client": 0.0, "commits": 10.0}
TEXTS = {CPU + "server": 1.1, CPU + "leader": 0.7, CPU + "client": 0.1, "commits": 1_100.0}
POLLS = {CPU + "server": 8.1, CPU + "leader": 1.2, CPU + "client": 0.5, "commits": 100.0}


def fitted() -> Model:
    """Return a model of one host: 100 texts and 10,000 polls were bought in 10 seconds each."""
    return Model.fitted(1, IDLE, {"text": (100, 10.0, TEXTS), "poll": (10_000, 10.0, POLLS)})


def test_what_is_spent_in_quiet_seconds_is_no_part_of_what_one_costs() -> None:
    """And is, of what one costs where so many are bought in a second."""
    model = fitted()
    assert model.cost({"text": 1}) == {
        CPU + "server": approx(0.010), CPU + "leader": approx(0.005), CPU + "client": approx(0.001),
        "commits": approx(10.0),
    }  # fmt: skip
    told = model.with_idle({"text": 1}, 1, 10.0)
    assert told[CPU + "server"] == approx(0.011) and told["commits"] == approx(11.0)


def test_a_mix_costs_what_its_parts_do() -> None:
    """By their shares: of three texts and one poll, a poll has a fourth."""
    cost = fitted().cost({"text": 3, "poll": 1})
    assert cost[CPU + "server"] == approx(0.75 * 0.010 + 0.25 * 0.0008)


def test_the_machine_is_full_first_where_hosts_share_it() -> None:
    """Two processors, less what is busy anyway, over what one text costs all sides: with a second
    host more is busy anyway, and nothing else is another."""
    rate, full = fitted().fullest({"text": 1}, sellers=1, processors=1.0)
    assert rate == approx((1.0 - 0.03) / 0.016) and full == "the machine"
    rate, full = fitted().fullest({"text": 1}, sellers=2, processors=1.0)
    assert rate == approx((1.0 - 0.06) / 0.016) and full == "the machine"


def test_a_process_is_full_first_where_processors_are_many() -> None:
    """A server has one thread: a second host has a second one."""
    rate, full = fitted().fullest({"poll": 1}, sellers=1, processors=16.0)
    assert rate == approx((1.0 - 0.01) / 0.0008) and full == "server"
    rate, full = fitted().fullest({"poll": 1}, sellers=2, processors=16.0)
    assert rate == approx((2.0 - 0.02) / 0.0008) and full == "server"


def test_a_model_is_told_and_read_as_json_has_it() -> None:
    """What another run has written says the same here."""
    assert Model(**fitted().told()) == fitted()
