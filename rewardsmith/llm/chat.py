"""Asks a language model through any OpenAI-compatible server.

One class serves all such providers: they differ in data (``cfg/llm``), and in the fields they take
(`rewardsmith.llm.parameters`). The SDK retries rate limits, server errors and lost connections;
this module retries what it lets through: broken or empty answers, and those cut off half-way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from rewardsmith.errors import ConfigurationError, ProviderUnusable
from rewardsmith.llm import answers
from rewardsmith.llm.budget import Budget, Reservation, prompt_tokens_upper_bound
from rewardsmith.llm.failures import Server, explain, unreadable
from rewardsmith.llm.keys import find_secrets, scrub
from rewardsmith.llm.parameters import Parameters
from rewardsmith.llm.types import Message, Reply, Request, Usage
from rewardsmith.settings import LLMSettings

# Goes where the SDK insists on a key and the server does not.
_NO_KEY = "none"

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0
_CONNECT_S = 10.0


class _Unreadable(Exception):
    """An answer came, but not one to work with; `retries` is what the SDK had used up by then."""

    def __init__(self, reason: str, retries: int) -> None:
        super().__init__(reason)
        self.retries = retries


@dataclass(frozen=True)
class _Answer:
    """A parsed answer, the fields that it was asked with, and the retries that it took."""

    data: dict[str, Any]
    fields: dict[str, Any]
    retries: int


class ChatProvider:
    """A language model behind an OpenAI-compatible server; safe to use from several threads.

    Attributes:
        name: of the provider's file in ``cfg/llm``.
        model: as the server spells it.
    """

    def __init__(self, settings: LLMSettings, environment: Mapping[str, str]) -> None:
        """Check what can be checked; the server is asked only if ``llm.model`` is not set.

        Args:
            settings: of the provider.
            environment: where the key and the address are looked up, see
                `rewardsmith.llm.keys.read_environment`.

        Raises:
            ProviderUnusable: a key is needed and missing, or no model is set and the server does
                not serve exactly one.
            ConfigurationError: the address is none, or ``llm.parameters`` holds a reserved field.
        """
        self.name = settings.provider
        self._settings = settings
        self._key = _find_key(settings, environment)
        self._organization = _openai_account(settings, environment)
        self._parameters = Parameters(settings)
        self._budget = Budget(settings.max_usd, settings.prices)
        self._client: Any = None
        self._client_lock = threading.Lock()
        secrets = find_secrets(environment) | ({self._key} if self._key else set())
        self._server = Server(
            settings.provider,
            _find_base_url(settings, environment),
            settings.model,
            settings.key_variable,
            settings.timeout_s,
            settings.max_retries,
            secrets,
        )
        self.model = settings.model or self._only_model()
        self._server = replace(self._server, model=self.model)

    def complete(self, request: Request) -> Reply:
        """Answer one request; see `rewardsmith.llm.types.Provider` for what is raised."""
        started = time.monotonic()
        bound = prompt_tokens_upper_bound(request.messages)
        reservation = self._budget.reserve(self.model, bound, self._parameters.limit, wait=True)
        try:
            answer = self._ask(request.messages)
            usage, notes = self._settle(answer, reservation)
        finally:
            self._budget.release(reservation)
        reply = self._reply(answer.data, usage)
        seconds = time.monotonic() - started
        return replace(reply, seconds=round(seconds, 3), notes=(*self._parameters.notes, *notes))

    def count_spent(self, usage: Usage) -> None:
        """Count what earlier requests of a resumed run have cost towards ``llm.max_usd``."""
        self._budget.count_spent(usage)

    def describe(self) -> str:
        """Name the provider, the model, the address, and what the cap on dollars does."""
        cost = self._budget.describe(self.model)
        return f"{self.name}: {self.model} at {self._server.address}, {cost}"

    @property
    def server(self) -> Server:
        """Who is asked."""
        return self._server

    def list_models(self) -> list[str]:
        """Ask the server for its models, once; it costs nothing.

        Raises:
            openai.OpenAIError: as the SDK puts it, or anything else that a bad answer leads to.
        """
        listed = self._sdk(max_retries=0).models.list()
        return sorted(str(model.id) for model in listed)

    def _ask(self, messages: Iterable[Message]) -> _Answer:
        import openai

        chat = [asdict(message) for message in messages]
        left = self._settings.max_retries
        while True:
            fields = self._parameters.fields()
            try:
                answer = self._post(chat, fields, left)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not self._parameters.adapt(fields, error):
                    raise explain(error, self._server) from None
            except openai.OpenAIError as error:
                raise explain(error, self._server) from None
            except _Unreadable as error:
                left -= error.retries + 1
                if left < 0:
                    raise unreadable(str(error), self._server) from None
                self._pause(left)
            else:
                return replace(answer, retries=self._settings.max_retries - left + answer.retries)

    def _post(self, chat: list[Any], fields: dict[str, Any], max_retries: int) -> _Answer:
        """Make one call of the SDK, which tries up to ``1 + max_retries`` times."""
        import openai

        create = self._sdk(max_retries).chat.completions.with_streaming_response.create
        retries = 0
        try:
            with create(
                model=self.model,
                messages=chat,
                extra_body=fields,
                extra_query=self._parameters.query,
            ) as response:
                retries = response.retries_taken
                # The SDK's time-out is for one piece; a server may send crumbs for ever.
                body = answers.read(response.iter_bytes(), self._settings.timeout_s)
            return _Answer(answers.parse(body), fields, retries)
        except openai.OpenAIError:
            raise
        except Exception as error:  # whatever the HTTP library or the parser make of a bad answer
            reason = f"{type(error).__name__}: {error}"
            raise _Unreadable(self._server.quote(reason), retries) from None

    def _settle(self, answer: _Answer, reservation: Reservation) -> tuple[Usage, tuple[str, ...]]:
        notes = [f"{answer.retries} retries"] if answer.retries else []
        usage = answers.usage(answer.data)
        if usage is None:
            notes.append("the server reported no usage: the upper bound is counted")
            usage = Usage(1, reservation.prompt_tokens, reservation.completion_tokens)
        else:
            self._parameters.notice_length(answer.fields, usage.completion_tokens)
        return self._budget.settle(reservation, usage), tuple(notes)

    def _reply(self, data: dict[str, Any], usage: Usage) -> Reply:
        choice = data["choices"][0]
        return Reply(
            text=self._clean(answers.text(choice["message"])),
            model=self._clean(str(data.get("model") or self.model)),
            finish_reason=self._clean(str(choice.get("finish_reason") or "stop")),
            usage=usage,
        )

    def _clean(self, text: str) -> str:
        """Drop the key, should a server ever echo it, and what UTF-8 cannot spell."""
        text = scrub(text, [self._key] if self._key else [])
        return text.encode("utf-8", "replace").decode()

    def _pause(self, left: int) -> None:
        done = self._settings.max_retries - left - 1
        time.sleep(min(_FIRST_PAUSE_S * 2**done, _LONGEST_PAUSE_S))

    def _sdk(self, max_retries: int) -> Any:
        """Build a client of the SDK that takes nothing from the process's environment."""
        import openai

        with self._client_lock:
            if self._client is None:
                seconds = self._settings.timeout_s
                self._client = openai.OpenAI(
                    api_key=self._key or _NO_KEY,
                    base_url=self._server.base_url,
                    # Not with each request: older versions log those, and one may hold a key.
                    default_headers=self._parameters.headers,
                    timeout=openai.Timeout(seconds, connect=min(seconds, _CONNECT_S)),
                )
        client = self._client.with_options(max_retries=max_retries)
        # Otherwise taken from OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_ADMIN_KEY and
        # OPENAI_CUSTOM_HEADERS, whichever server is asked.
        client.organization, client.project = self._organization
        client.admin_api_key = None
        client._custom_headers = dict(self._parameters.headers)
        return client

    def _only_model(self) -> str:
        """Ask the server for its model.

        Raises:
            ProviderUnusable: it serves none, or more than one.
        """
        import openai

        try:
            models = self.list_models()
        except openai.OpenAIError as error:
            raise ProviderUnusable(str(explain(error, self._server))) from None
        except Exception as error:
            reason = self._server.quote(f"{type(error).__name__}: {error}")
            raise ProviderUnusable(
                f"{self._server.address} does not tell its models ({reason}): set llm.model=NAME."
            ) from None
        if len(models) == 1:
            return models[0]
        known = self._server.quote(", ".join(models)) or "none"
        raise ProviderUnusable(
            f"{self._server.address} serves {len(models)} models, so set llm.model=NAME; "
            f"it knows: {known}"
        )


def _find_key(settings: LLMSettings, environment: Mapping[str, str]) -> str | None:
    variable = settings.key_variable
    key = environment.get(variable, "").strip() if variable else ""
    if not key:
        if settings.key_required:
            raise ProviderUnusable(
                f"llm.provider={settings.provider} needs a key: set {variable} in the environment "
                "or in .env, or use llm.provider=builtin, which needs none."
            )
        return None
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ProviderUnusable(
            f"{variable} holds characters that no key has: copy the key again into the "
            "environment or .env, or use llm.provider=builtin."
        )
    return key


def _find_base_url(settings: LLMSettings, environment: Mapping[str, str]) -> str:
    variable = settings.base_url_variable
    from_environment = environment.get(variable, "").strip() if variable else ""
    url = settings.base_url or from_environment or settings.default_base_url
    if not url:
        also = f" (or {variable} in the environment)" if variable else ""
        raise ConfigurationError(
            f"llm.provider={settings.provider} needs an address: set llm.base_url{also}, "
            "such as http://127.0.0.1:8000/v1."
        )
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"The base URL of llm.provider={settings.provider} is {url!r}, but it has to start "
            "with http:// or https://."
        )
    return _with_path(url, settings.default_base_url) if url == from_environment else url


def _with_path(url: str, default: str | None) -> str:
    """Complete an address without a path, as other tools of the provider write it."""
    path = urlsplit(default or "").path
    return url.rstrip("/") + path if urlsplit(url).path in ("", "/") else url


def _openai_account(
    settings: LLMSettings, environment: Mapping[str, str]
) -> tuple[str | None, str | None]:
    # Organization and project belong to OpenAI's key, and are none of another server's business.
    if settings.key_variable != "OPENAI_API_KEY":
        return None, None
    return environment.get("OPENAI_ORG_ID") or None, environment.get("OPENAI_PROJECT_ID") or None
