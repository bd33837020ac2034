"""A student whose answers come from vLLM; its training is that of the Transformers student."""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

from dataenvgym.envs.cache import cache_dir
from dataenvgym.envs.config import ANSWER_TOKENS, StudentConfig, TrainConfig
from dataenvgym.envs.errors import ConfigError, DataError, StudentError
from dataenvgym.envs.students import weights
from dataenvgym.envs.students.base import TrainSummary
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.students.vllm_server import LostError, ServerSpec, VllmServer, connect, room_for, start
from dataenvgym.envs.types import Example, Progress

log = logging.getLogger("dataenvgym.students")
TOGETHER = 16
"""Prompts per request. Few, so that progress shows and few prompts are retried when the server dies."""
LOG = "vllm.log"


class VllmStudent:
    """A student that answers through vLLM and trains through `trained`, the same student on Transformers.

    Both use the same prompt form and tokenizer. Each adapter is loaded into the server under a new name, because
    vLLM may answer from the cache of an earlier adapter with the same name, and unloaded before the next. A
    student trained whole gets a new server.

    `folder`: the folder of the server's log; None: the cache folder.
    """

    def __init__(self, trained: TransformersStudent, config: StudentConfig, folder: Path | None = None) -> None:
        self._trained, self._config, self._settings = trained, config, config.vllm
        self._log = (folder or cache_dir() / "vllm" / str(os.getpid())) / LOG
        self.base_key = trained.base_key
        # vLLM adds in another order than transformers, so near ties may give other tokens.
        engine = {"engine": "vllm", "arguments": self._settings.arguments, "address": self._settings.address}
        self.generation_key = json.dumps({**json.loads(trained.generation_key), **engine}, sort_keys=True)
        self._adapter: Path | None = None
        self._server: VllmServer | None = None
        self._serving: tuple[ServerSpec, tuple[int, int] | None] | None = None
        self._named: tuple[tuple[int, int] | None, str] | None = None  # fingerprint and name of the loaded adapter
        self._asleep = False

    def load(self, adapter: Path | None) -> None:
        """Answer with this adapter, or this whole model, from now on."""
        self._adapter = None if adapter is None else adapter.resolve()

    def predict(
        self, prompts: Sequence[str], images: Sequence[str] | None = None, progress: Progress | None = None
    ) -> list[str]:
        """Generate greedy answers. A server that dies is restarted once, and the unanswered prompts are retried.

        Raises:
            DataError: images, or a prompt that the server refuses.
            StudentError: the server does not start, or dies twice; the text ends with its log.
        """
        if images is not None:
            raise DataError(f"student {self._config.name!r} reads text only, but images were given")
        asked = [self._trained.prompt_ids(prompt) for prompt in prompts]
        found: list[list[int] | None] = [None] * len(asked)
        for last in (False, True):
            try:
                self._answer(asked, found, progress)
                break
            except LostError as error:
                if last:
                    raise
                log.warning("%s. Trying once more.", str(error).splitlines()[0].partition("; its log")[0])
                self._end_server()
        return [self._trained.text(tokens or []) for tokens in found]

    def train(
        self,
        examples: Sequence[Example],
        out: Path,
        *,
        config: TrainConfig,
        seed: int,
        start: Path | None = None,
        progress: Progress | None = None,
    ) -> TrainSummary:
        """Train as `TransformersStudent.train` does. A server on the same GPU sleeps meanwhile."""
        if self._sleeps:
            self._rest()
        try:
            return self._trained.train(examples, out, config=config, seed=seed, start=start, progress=progress)
        finally:
            self._trained.close()

    def answer_key(self, prompts: Sequence[str]) -> str:
        """Digest what answers depend on besides weights and settings."""
        return self._trained.answer_key(prompts)

    def shown(self, prompt: str) -> str:
        """Return a prompt as the model gets it, with special tokens visible."""
        return self._trained.shown(prompt)

    def close(self) -> None:
        """Stop the server; it starts again when needed."""
        self._end_server()
        self._trained.close()

    @property
    def _sleeps(self) -> bool:
        """Tell whether the server frees its GPU's memory while the student is trained."""
        if self._settings.sleep != "auto":
            return self._settings.sleep == "on"
        shared = self._settings.address is None and self._settings.gpus is None
        return shared and self._trained.device.startswith("cuda")

    def _answer(
        self, asked: Sequence[list[int]], found: list[list[int] | None], progress: Progress | None
    ) -> None:
        """Put the answers that are still missing into `found`."""
        missing = [number for number, tokens in enumerate(found) if tokens is None]
        if not missing:
            return
        server, model = self._ready()
        longest = self._config.generation.max_new_tokens or ANSWER_TOKENS
        ends = sorted(self._trained.end_tokens())
        lost = threading.Event()

        def ask(numbers: Sequence[int]) -> Sequence[int]:
            if lost.is_set():
                return ()
            try:
                answers = server.answers(model, [asked[n] for n in numbers], longest, ends)
            except BaseException:
                lost.set()  # the other requests would fail too
                raise
            for number, tokens in zip(numbers, answers, strict=True):
                found[number] = _until(tokens, ends)
            return numbers

        # Long prompts first, so that a few long ones do not run alone at the end.
        missing.sort(key=lambda number: -len(asked[number]))
        parts = [missing[at : at + TOGETHER] for at in range(0, len(missing), TOGETHER)]
        done = len(asked) - len(missing)
        with ThreadPoolExecutor(
            max(1, min(len(parts), self._config.generation.batch_size // TOGETHER))
        ) as threads:
            for future in as_completed([threads.submit(ask, part) for part in parts]):
                done += len(future.result())
                if progress:
                    progress(done, len(asked))

    def _ready(self) -> tuple[VllmServer, str]:
        """Return the server, awake and with the adapter or model loaded, and the name to request."""
        adapter = self._adapter
        whole = adapter is not None and weights.is_whole(adapter)
        stamp = weights.fingerprint(adapter)
        wanted = self._server_spec(adapter if whole else None), stamp if whole else None
        if self._server is None or self._serving != wanted:
            self._end_server()
            self._server, self._serving = self._start_server(wanted[0]), wanted
        if self._asleep:
            self._server.wake()
            self._asleep = False
        if adapter is None or whole:
            return self._server, self._server.name
        if self._named is None or self._named[0] != stamp:
            self._unload()
            name = f"{adapter.name[:16]}-{secrets.token_hex(4)}"
            self._server.load(name, adapter)
            self._named = stamp, name
        return self._server, self._named[1]

    def _server_spec(self, whole: Path | None) -> ServerSpec:
        train, plain = self._config.train, self._trained.plain_model()
        rank = room_for(train.lora_rank) if train.adapter == "lora" else 0
        return ServerSpec(str(whole or plain), plain, self._trained.dtype, self._trained.device, rank)

    def _start_server(self, served: ServerSpec) -> VllmServer:
        if self._settings.address is not None:
            if self._config.train.adapter == "full":
                raise StudentError(
                    "student.vllm.address: a student trained whole needs a new server after each training; leave "
                    "address out, so that servers are started here, or set student.train.adapter=lora"
                )
            server = connect(self._settings.address, served)
            if self._sleeps:  # a crashed run may have left it asleep
                server.wake()
            return server
        log.warning("starting vLLM for the student, which takes half a minute or more; its log is %s", self._log)
        return start(self._settings, served, self._sleeps, self._log)

    def _rest(self) -> None:
        if self._server is not None and not self._asleep:
            try:
                self._unload()
                self._server.sleep()
                self._asleep = True
            except LostError:
                self._end_server()  # its memory is free as well

    def _unload(self) -> None:
        if self._named is not None and self._server is not None:
            name, self._named = self._named[1], None
            self._server.unload(name)

    def _end_server(self) -> None:
        server, self._server = self._server, None
        if server is not None and self._settings.address is not None:  # it keeps running without us
            with suppress(StudentError, DataError, ConfigError):
                if self._asleep:
                    server.wake()
                if self._named is not None:
                    server.unload(self._named[1])
        self._serving, self._named, self._asleep = None, None, False
        if server is not None:
            server.close()


def _until(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """Return the tokens before the first end token."""
    return tokens[: next((at for at, token in enumerate(tokens) if token in ends), len(tokens))]
