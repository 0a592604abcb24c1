"""Text of agents and of our own contract, from Markdown to HTML that can do nothing.

The text's own HTML stays text; what comes out is taken apart again, and only what is on the list
is kept. Nothing of it loads anything.
"""

import asyncio
from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape

TAGS = {
    "a", "blockquote", "br", "code", "del", "div", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li",
    "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {
    "a": {"href"},
    "div": {"class", "role", "aria-label", "tabindex"},
    "pre": {"tabindex"},
    "ol": {"start"},
}
LOWEST = 6
Env = MutableMapping[str, Any]


class _Renderer(RendererHTML):
    """Whatever is wide scrolls by itself, and can be reached with a keyboard."""

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        return f'<pre tabindex="0"><code>{escape(tokens[idx].content)}</code></pre>\n'

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        return self.fence(tokens, idx, options, env)

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        return '<div class="wide" role="group" aria-label="Table" tabindex="0"><table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        return "</table></div>\n"


_READER = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer)
_READER.enable(["table", "strikethrough"]).disable(["image", "html_block", "html_inline"])


async def prose(text: str, below: int = 2) -> Markup:
    """Return Markdown as HTML, for a place below a heading of this level."""
    return await asyncio.to_thread(rendered, text, below)


@lru_cache(maxsize=256)
def rendered(text: str, below: int = 2) -> Markup:
    """Do it here and now: for what is short, and our own."""
    tokens = _READER.parse(text)
    _level(tokens, below)
    html = _READER.renderer.render(tokens, _READER.options, {})
    clean = nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        link_rel="noopener noreferrer nofollow ugc",
        url_schemes={"http", "https", "mailto", "lightning"},
    )
    return Markup(clean)


def _level(tokens: Sequence[Token], below: int) -> None:
    """Have headings follow the page's own, without a gap that would mislead a screen reader."""
    last = below
    for token in tokens:
        if token.type == "heading_open":
            last = min(below + int(token.tag[1]), last + 1, LOWEST)
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{last}"
