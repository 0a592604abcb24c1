"""What the doctor says of the store of artifacts: it keeps a few bytes, or says why not."""

from app.adapters import make_store
from app.advance import new_id
from app.commands.findings import Finding, ok, wrong
from app.ports import NotNow
from app.settings import Settings

PROBE = b"boltwork"


async def of_artifacts(settings: Settings) -> list[Finding]:
    """Have the store keep some bytes, read them, and let them go."""
    here = settings.artifacts_url is None
    mend = "see that BOLTWORK_DATA can be written to"
    if not here:
        mend = "check ARTIFACTS_URL, its key, and whether that may write, read and delete there"
    try:
        store = make_store(settings)
    except OSError as error:
        return [wrong("artifacts", f"their folder can't be made ({error.strerror})", mend)]
    name = new_id()
    for answer, wanted in (
        (await store.put(name, PROBE), None),
        (await store.read(name, 0, len(PROBE)), PROBE),
        (await store.delete([name]), None),
    ):
        if isinstance(answer, NotNow):
            return [wrong("artifacts", answer.reason, mend)]
        if answer != wanted:
            return [wrong("artifacts", "their store gives back other bytes than it got", mend)]
    return [ok("artifacts", f"are kept in {settings.data}" if here else "are kept in a bucket")]
