"""How programs find what is sold here: the contract, manifests, catalogs, and words for models."""

from starlette.routing import Route

from app.api.discovery import contract, documents, llms, quoting

DISCOVERY_ROUTES = (
    Route("/.well-known/x402", documents.x402),
    Route("/.well-known/l402.json", documents.l402),
    Route("/.well-known/api-catalog", documents.api_catalog),
    Route("/.well-known/agent-card.json", documents.agent_card),
    Route("/l402/quote", quoting.quote, methods=["POST"]),
    Route("/llms.txt", llms.llms),
    Route("/llms-full.txt", llms.llms_full),
    Route("/openapi.yaml", contract.openapi_yaml),
    Route("/openapi.json", contract.openapi_json),
    # By which crawlers ask for it, too.
    Route("/swagger.json", contract.openapi_json),
    Route("/api/openapi.json", contract.openapi_json),
)
