"""What is cut out of a stranger's prompt before it goes to a server of the operator's.

Some servers read tags inside a prompt: they load weights, or set steps. Those are the operator's.
"""

import re
from typing import Final

from app.ports import Declined

NOTHING: Final = Declined("There is nothing to make in the prompt.")
_TAGS: Final = re.compile(
    r"<sd_cpp_extra_args>.*?(?:</sd_cpp_extra_args>|$)|</?sd_cpp_extra_args>"
    r"|<(?:lora|lyco|hypernet)\b[^>]*>?|\bembedding:",
    re.IGNORECASE | re.DOTALL,
)


def cleaned(prompt: str) -> str:
    """Return a prompt without the tags that tell such a server more than words."""
    while (shorter := _TAGS.sub("", prompt)) != prompt:
        prompt = shorter  # what is left may have become one
    return prompt
