"""Calls to chat models: the gateway, the clients behind it, and their spending."""
