"""The commands of a guide for programs with an account, in its order and as they stand there."""

BASE = "https://noema.art/api/v1"
ZERO = "0x0000000000000000000000000000000000000000"
IMAGES, HOOKS = "miladymaker.net", "your-domain.com"  # the servers of others that it names

# 1. Connect a wallet.
INITIATE = """
curl -X POST "https://noema.art/api/v1/wallets/connect/initiate" \\
  -H 'Content-Type: application/json' \\
  -d '{"tokenAddress":"0x0000000000000000000000000000000000000000"}'
"""
STATUS = """
curl "https://noema.art/api/v1/wallets/connect/status/<requestId>"
"""

# 3. The account.
ME = """
curl -H "x-api-key: $API_KEY" \\
     https://noema.art/api/v1/user/me
"""
DASHBOARD = """
curl -H "x-api-key: $API_KEY" \\
     https://noema.art/api/v1/user/dashboard
"""
HISTORY = """
curl -H "x-api-key: $API_KEY" \\
     "https://noema.art/api/v1/user/history?timeUnit=month&offset=0"
"""

# 4. Tools.
TOOLS = "curl https://noema.art/api/v1/tools"
TOOL = "curl https://noema.art/api/v1/tools/kontext"
REGISTRY = "curl https://noema.art/api/v1/tools/registry/kontext"

# 5. Spells.
MARKETPLACE = """
curl "https://noema.art/api/v1/spells/marketplace?tag=landscape&search=beautiful"
"""
SPELL = "curl https://noema.art/api/v1/spells/epic-landscape-vfx"
QUOTE = """
curl -X POST https://noema.art/api/v1/spells/epic-landscape-vfx/quote \\
     -H "x-api-key: $API_KEY" \\
     -H 'Content-Type: application/json' \\
     -d '{"sampleSize": 10}'
"""

# 6. A run.
EXECUTE = """
cat > kontext.json <<'EOF'
{
  "toolId": "kontext",
  "inputs": {
    "input_image": "https://miladymaker.net/milady/4985.png",
    "input_prompt": "turn the character so that she is facing the viewer\
 and looking directly at them"
  }
}
EOF

curl -X POST https://noema.art/api/v1/generations/execute \\
     -H "x-api-key: $API_KEY" \\
     -H 'Content-Type: application/json' \\
     -d @kontext.json
"""
RUN = """
curl -H "x-api-key: $API_KEY" \\
     https://noema.art/api/v1/generations/status/<generationId>
"""
RUNS = """
curl -X POST https://noema.art/api/v1/generations/status \\
     -H "x-api-key: $API_KEY" \\
     -H 'Content-Type: application/json' \\
     -d '{"generationIds": ["<generationId>", "6542", "6543"]}'
"""

# 7. A cast.
CAST = """
cat > spell-cast.json <<'EOF'
{
  "slug": "epic-landscape-vfx",
  "context": {
    "parameterOverrides": {
      "input_prompt": "create a beautiful sunset landscape"
    }
  }
}
EOF

curl -X POST https://noema.art/api/v1/spells/cast \\
     -H "x-api-key: $API_KEY" \\
     -H 'Content-Type: application/json' \\
     -d @spell-cast.json
"""
CAST_STATUS = """
curl -H "x-api-key: $API_KEY" \\
     https://noema.art/api/v1/spells/casts/<castId>
"""

# 8. Webhooks.
EXECUTE_TOLD = """
cat > kontext-webhook.json <<'EOF'
{
  "toolId": "kontext",
  "inputs": {
    "input_image": "https://miladymaker.net/milady/4985.png",
    "input_prompt": "turn the character so that she is facing the viewer"
  },
  "delivery": {
    "mode": "webhook",
    "url": "https://your-domain.com/webhooks/generation-complete",
    "secret": "your-webhook-secret-optional"
  }
}
EOF

curl -X POST https://noema.art/api/v1/generations/execute \\
     -H "x-api-key: $API_KEY" \\
     -H 'Content-Type: application/json' \\
     -d @kontext-webhook.json
"""
CAST_TOLD = """
cat > spell-webhook.json <<'EOF'
{
  "slug": "my-spell-slug",
  "context": {
    "webhookUrl": "https://your-domain.com/webhooks/spell-complete",
    "webhookSecret": "your-webhook-secret-optional",
    "parameterOverrides": {
      "input_prompt": "create a beautiful landscape"
    }
  }
}
EOF

curl -X POST https://noema.art/api/v1/spells/cast \\
     -H "x-api-key: $API_KEY" \\
     -H 'Content-Type: application/json' \\
     -d @spell-webhook.json
"""
SECRET = "your-webhook-secret-optional"
