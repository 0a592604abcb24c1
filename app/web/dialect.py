"""How pages say why they refuse: the API's statuses, each with a title for people."""

from app.http.dialect import AGENT_JOBS, Dialect
from app.refusal import Why

_TITLES = {
    400: "That didn’t work",
    401: "Sign in first",
    402: "Not enough balance",
    403: "Not allowed",
    404: "Page not found",
    405: "Page not found",
    409: "Not possible right now",
    410: "This has ended",
    429: "Too many requests",
    503: "Try again later",
}
# In the stub's shop a payment that fails is a matter of the job, which is there.
_OTHERS = {Why.PAYMENT_FAILED: (409, "Not paid"), Why.DELETED: (410, "No longer kept")}

PAGES = Dialect(
    "pages",
    {
        why: (status, _TITLES.get(status, "Something went wrong"))
        for why, (status, _) in AGENT_JOBS.answers.items()
    }
    | _OTHERS,
)
