"""The application of `langgraph dev` around the graphs; it frees students and other live objects at its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from dataenvgym.graphs.resources import close_all


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Free all live objects when the server stops."""
    yield
    await asyncio.to_thread(close_all)
    logging.getLogger(__name__).info("students and other live objects are freed")


app = Starlette(lifespan=lifespan)
