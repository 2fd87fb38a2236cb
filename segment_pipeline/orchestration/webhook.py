"""A message to a webhook: JSON {"text": ...}, sent within one deadline, whatever the other side does.

Here: sending. Not here: what is told to whom (sensors.py).
"""

import threading

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

RETRIES = 2
"""Further tries where nobody answers, or the server says that it cannot at the moment."""
BUSY = (429, 500, 502, 503, 504)


class NotSentError(Exception):
    """The webhook did not take the message; says why."""


def send(url: str, text: str, deadline: float) -> None:
    """Send the text. deadline : seconds, all tries together. Raises NotSentError.

    A redirect is not followed: the usual ones turn a POST into a GET, which delivers nothing and is answered with 200.
    """
    outcome: list[Exception | None] = []

    def attempt() -> None:
        try:
            _post(url, text, deadline)
            outcome.append(None)
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            outcome.append(error)

    # Timeouts of a connection are of each byte: a server that drips would hold the tick for ever.
    sender = threading.Thread(target=attempt, daemon=True)
    sender.start()
    sender.join(deadline)
    if not outcome:
        raise NotSentError(f"no answer within {deadline:g} s")
    if outcome[0] is not None:
        raise NotSentError(str(outcome[0])) from outcome[0]


def _post(url: str, text: str, deadline: float) -> None:
    retry = Retry(
        total=RETRIES,
        status_forcelist=BUSY,
        allowed_methods=None,
        backoff_factor=0.1,
        raise_on_status=False,
    )
    with requests.Session() as session:
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        answer = session.post(url, json={"text": text}, timeout=deadline, allow_redirects=False)
    if answer.is_redirect:
        where = answer.headers["Location"]
        raise NotSentError(f"it answered {answer.status_code} and sends on to {where}: set the address to that one")
    if not answer.ok:
        raise NotSentError(f"it answered {answer.status_code} {answer.reason}")
