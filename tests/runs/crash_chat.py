"""A chat that answers in two pieces and draws a dot, for servers that may die in the middle."""

from collections.abc import AsyncGenerator, Sequence

from app.agents.agent import Broke
from app.agents.chat import Declined, Done, Drawn, Piece, Said, Turn
from pricing.rates import Usage
from tests.world.scripted_agent import MODEL


class ScriptedChat:
    """Implements Chat."""

    name = "scripted"
    chat_model = image_model = MODEL
    max_output_tokens = 500
    max_image_tokens = 100
    most_history_bytes = 1_000

    def takes(self, model: str) -> str:
        """See Chat."""
        return MODEL if model == MODEL else ""

    async def answer(
        self, model: str, turns: Sequence[Turn], max_output_tokens: int
    ) -> AsyncGenerator[Piece, None]:
        """See Chat."""
        yield Said("he", Usage(20, 10))
        yield Said("llo", Usage(20, 300))
        yield Done(Usage(20, 300))

    async def draw(self, prompt: str) -> Drawn | Declined | Broke:
        """See Chat."""
        return Drawn(b"dot", "image/png", Usage(20, 60), "crash")

    async def healthy(self) -> Broke | None:
        """See Chat."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""
