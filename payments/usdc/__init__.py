"""USDC on an EVM chain, paid by signed authorizations (x402, EIP-3009): the second rail."""
