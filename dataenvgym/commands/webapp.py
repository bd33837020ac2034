"""The application of `langgraph dev` around the graphs: it checks contexts and frees live objects at its end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataenvgym.graphs.config import EpisodeConfig
from dataenvgym.graphs.resources import close_all


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Free all live objects when the server stops."""
    yield
    await asyncio.to_thread(close_all)
    logging.getLogger(__name__).info("students and other live objects are freed")


class ContextKeys:
    """Refuses a context with an unknown key, status 422. The server itself drops such a key without a word."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PATCH"):
            await self.app(scope, receive, send)
            return
        messages: list[Message] = []
        while not messages or messages[-1].get("more_body"):
            messages.append(await receive())
        if (fault := _fault(b"".join(message.get("body", b"") for message in messages))) is not None:
            await JSONResponse({"detail": fault}, status_code=422)(scope, receive, send)
            return
        read = iter(messages)

        async def again() -> Message:
            return next(read, None) or await receive()

        await self.app(scope, again, send)


def _fault(body: bytes) -> str | None:
    """What is wrong with the top-level keys of the context in a request; None for nothing."""
    from dataenvgym.envs.explain import explain

    try:
        given: Any = json.loads(body)
    except (ValueError, RecursionError):  # the server says what is wrong with it
        return None
    context = given.get("context") if isinstance(given, dict) else None
    unknown = (
        [key for key in context if key not in EpisodeConfig.model_fields] if isinstance(context, dict) else []
    )
    errors = [{"type": "extra_forbidden", "loc": (key,), "msg": "", "input": None} for key in unknown]
    return (
        "\n".join(["the context is not valid:", *(explain(one, EpisodeConfig) for one in errors)])
        if errors
        else None
    )


app = Starlette(lifespan=lifespan, middleware=[Middleware(ContextKeys)])
