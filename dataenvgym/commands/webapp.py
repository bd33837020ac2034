"""What `langgraph dev` runs around the graphs: students and other live objects are freed when it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from dataenvgym.graphs.resources import close_all


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Nothing at the start; everything is freed at the end."""
    yield
    await asyncio.to_thread(close_all)
    logging.getLogger(__name__).info("students and other live objects are freed")


app = Starlette(lifespan=lifespan)
