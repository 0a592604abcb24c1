"""The door for MCP clients: a model buys here by tools, each of which is an address of the API.

Nothing is sold, paid or refused here: a tool asks the address that its client could ask itself.
"""

from starlette.routing import Route

from app.mcp import door

MCP_ROUTES = (Route("/mcp", door.mcp, methods=["POST"]),)
