"""The way to a chat model: the gateway, the clients behind it, and what they spend."""
