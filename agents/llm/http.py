"""The HTTP client of OpenAI-compatible servers; imported only to build one, since openai takes a second."""

from __future__ import annotations

from typing import Any

from openai import DefaultAsyncHttpxClient

from dataenvgym.agents.llm.bodies import received, tidy


class TidyClient(DefaultAsyncHttpxClient):
    """An httpx client that puts the body of each reply in order. It follows no redirect."""

    def __init__(self, **settings: Any) -> None:
        # A redirect would carry the prompts, and elsewhere the key, to an address that nobody gave.
        super().__init__(**{**settings, "follow_redirects": False})

    async def send(self, request: Any, **settings: Any) -> Any:
        """Send a request; see `httpx.AsyncClient.send`."""
        response = await super().send(request, **settings)
        into = received.get()
        if into is None or settings.get("stream") or not response.is_success:
            return response
        body = tidy(response.content, response.headers.get("content-type", ""), into)
        headers = {"content-type": "application/json"}
        # OpenAI's client may bring an httpx of its own, so the reply is of the class that it knows.
        return type(response)(response.status_code, headers=headers, json=body, request=request)
