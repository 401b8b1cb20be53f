"""Asks a language model through any OpenAI-compatible server.

One class serves all such providers: they differ in data (``cfg/llm``), and in the fields they take
(`rewardsmith.llm.parameters`). Each attempt is made, paid and, if it fails, judged by itself
(`rewardsmith.llm.retries`), whether it met a rate limit or an answer that was cut off half-way.
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
from rewardsmith.llm.failures import Server, explain
from rewardsmith.llm.keys import find_secrets, scrub
from rewardsmith.llm.ledger import Ledger
from rewardsmith.llm.parameters import Parameters
from rewardsmith.llm.retries import Unreadable, may_be_billed, may_pass, pause
from rewardsmith.llm.types import Message, Reply, Request, Usage
from rewardsmith.settings import LLMSettings

# Goes where the SDK insists on a key and the server does not.
_NO_KEY = "none"

_CONNECT_S = 10.0


@dataclass(frozen=True)
class _Answer:
    """A parsed answer, what it cost, and what is to be noted of it."""

    data: dict[str, Any]
    usage: Usage
    notes: tuple[str, ...]


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
            secrets,
        )
        self.model = settings.model or self._only_model()
        self._server = replace(self._server, model=self.model)

    def complete(self, request: Request) -> Reply:
        """Answer one request; see `rewardsmith.llm.types.Provider` for what is raised."""
        started = time.monotonic()
        answer = self._ask(request.messages)
        reply = self._reply(answer.data, answer.usage)
        seconds = time.monotonic() - started
        notes = (*self._parameters.notes, *answer.notes)
        return replace(reply, seconds=round(seconds, 3), notes=notes)

    def count_spent(self, usage: Usage, ledger: Ledger | None = None) -> None:
        """Count what earlier requests of a resumed run have cost towards ``llm.max_usd``.

        Args:
            usage: of the replies on record.
            ledger: where each attempt is noted from now on, and earlier ones are.
        """
        self._budget.count_spent(usage, ledger)

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
        listed = self._sdk().models.list()
        return sorted(str(model.id) for model in listed)

    def _ask(self, messages: Iterable[Message]) -> _Answer:
        """Attempt until there is an answer, or no use in going on."""
        import openai

        messages = tuple(messages)
        retries = lost = 0
        while True:
            fields = self._parameters.fields()
            try:
                answer = self._attempt(messages, fields)
            except (openai.OpenAIError, Unreadable) as error:
                lost += may_be_billed(error)
                if self._parameters.adapt(fields, error):
                    continue
                if retries >= self._settings.max_retries or not may_pass(error):
                    raise explain(error, self._server, retries + 1) from None
                time.sleep(pause(error, retries))
                retries += 1
            else:
                return replace(answer, notes=(*_told(retries, lost), *answer.notes))

    def _attempt(self, messages: tuple[Message, ...], fields: dict[str, Any]) -> _Answer:
        """Ask once, within the budget: what may be on the bill is counted."""
        bound = prompt_tokens_upper_bound(messages)
        reservation = self._budget.reserve(self.model, bound, self._parameters.limit, wait=True)
        try:
            data = self._post([asdict(message) for message in messages], fields)
        except BaseException as error:
            if may_be_billed(error):
                self._budget.lose(reservation)
            else:
                self._budget.release(reservation)
            raise
        usage, notes = self._settle(data, fields, reservation)
        return _Answer(data, usage, notes)

    def _post(self, chat: list[Any], fields: dict[str, Any]) -> dict[str, Any]:
        import openai

        create = self._sdk().chat.completions.with_streaming_response.create
        try:
            with create(
                model=self.model,
                messages=chat,
                extra_body=fields,
                extra_query=self._parameters.query,
            ) as response:
                # The SDK's time-out is for one piece; a server may send crumbs for ever.
                body = answers.read(response.iter_bytes(), self._settings.timeout_s)
            return answers.parse(body)
        except openai.OpenAIError:
            raise
        except Exception as error:  # whatever the HTTP library or the parser make of a bad answer
            raise Unreadable(self._server.quote(f"{type(error).__name__}: {error}")) from None

    def _settle(
        self, data: dict[str, Any], fields: dict[str, Any], reservation: Reservation
    ) -> tuple[Usage, tuple[str, ...]]:
        notes = []
        usage = answers.usage(data)
        if usage is None:
            notes.append("the server reported no usage: the upper bound is counted")
            usage = Usage(1, reservation.prompt_tokens, reservation.completion_tokens)
        else:
            self._parameters.notice_length(fields, usage.completion_tokens)
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

    def _sdk(self) -> Any:
        """Build a client of the SDK, once, that takes nothing from the process's environment."""
        with self._client_lock:
            if self._client is None:
                self._client = self._new_client()
            return self._client

    def _new_client(self) -> Any:
        import openai

        seconds = self._settings.timeout_s
        client: Any = openai.OpenAI(
            api_key=self._key or _NO_KEY,
            base_url=self._server.base_url,
            # Not with each request: older versions log those, and one may hold a key.
            default_headers=self._parameters.headers,
            timeout=openai.Timeout(seconds, connect=min(seconds, _CONNECT_S)),
            max_retries=0,
        )
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


def _told(retries: int, lost: int) -> list[str]:
    """What it took, for the record."""
    notes = [f"{retries} retries"] if retries else []
    if lost:
        notes.append(f"lost answers, counted towards llm.max_usd at their worst: {lost}")
    return notes


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
