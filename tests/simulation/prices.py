"""What a job may cost: worked out again from the prices that its model's maker publishes."""

from fractions import Fraction
from math import ceil

from tests.simulation.minds import WORK_MODEL, SimulatedAgent, SimulatedOracle
from tests.simulation.rows import Row, hold

IN_DOLLARS, OUT_DOLLARS, INFRA_DOLLARS, MARGIN = 2, 10, Fraction(2, 1000), Fraction(20, 100)
INSTRUCTION_TOKENS = 1_000  # what a request is priced for beside its own bytes


class Prices:
    """Checks quotes and charges against what the agent truly used, and what sources truly said."""

    def __init__(self, agent: SimulatedAgent, oracle: SimulatedOracle) -> None:
        self._agent, self._oracle = agent, oracle

    def check_quote(self, job: Row, *, is_firm: bool) -> None:
        """Check the price at which a job was offered."""
        quote = job["quote"]
        tokens = quote["input_tokens"] * IN_DOLLARS + quote["max_output_tokens"] * OUT_DOLLARS
        self._check(job["id"], quote, tokens, quote, None)
        price = quote["price"]["microusd_per_btc"]
        honest = self._oracle.lowest <= price <= self._oracle.highest
        hold(honest, 6, f"job {job['id']} has a bitcoin price that no honest source named")
        if is_firm:
            read = INSTRUCTION_TOKENS + len(job["request"].encode())
            size = (quote["input_tokens"], quote["max_output_tokens"])
            right = (read, self._agent.max_output_tokens)
            hold(size == right, 6, f"job {job['id']} is priced for {size}, not {right}")
        limit = job["max_msat"]
        hold(limit is None or quote["total_msat"] <= limit, 6, f"job {job['id']} is over its limit")

    def check_charge(self, job: Row) -> None:
        """Check what a job was charged that is done."""
        charge, quote = job["charge"], job["quote"]
        hold(charge is not None, 6, f"job {job['id']} is complete, and was not charged")
        used = (charge["input_tokens"], charge["output_tokens"])
        hold(used in self._agent.used[job["request"]], 6, f"job {job['id']} did not use {used}")
        tokens = used[0] * IN_DOLLARS + used[1] * OUT_DOLLARS
        total = charge["total_msat"]
        self._check(job["id"], quote, tokens, charge, quote["total_msat"])
        hold(
            total + charge["surplus_msat"] == quote["total_msat"], 6, f"job {job['id']} loses some"
        )

    def _check(
        self, job_id: str, quote: Row, millionths: int, told: Row, most_msat: int | None
    ) -> None:
        hold(quote["model"] == WORK_MODEL, 6, f"job {job_id} is priced as {quote['model']}")
        cost = Fraction(ceil(Fraction(millionths)), 10**6)
        charge = Fraction(ceil((cost + INFRA_DOLLARS) * (1 + MARGIN) * 10**6), 10**6)
        in_dollars, total_msat = told["charge_microusd"], told["total_msat"]
        right = in_dollars == charge * 10**6
        hold(right, 6, f"job {job_id}: {in_dollars} micro-USD, not {charge * 10**6}")
        bitcoin = Fraction(quote["price"]["microusd_per_btc"], 10**6)
        right_msat = max(1, ceil(charge / bitcoin * 10**8)) * 1_000
        if most_msat is not None:
            right_msat = min(right_msat, most_msat)
        hold(total_msat == right_msat, 6, f"job {job_id}: {total_msat} msat, not {right_msat}")
