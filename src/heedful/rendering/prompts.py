"""A prompt as the reader of a page sees it: its text, or one paragraph per turn of a chat."""

from __future__ import annotations

from collections.abc import Mapping


def prompt_text(prompt: object) -> str:
    """Return a prompt as text. Messages may be records or plain {role, content}."""
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list | tuple):
        return str(prompt)
    return "\n".join(_turn(message) for message in prompt)


def _turn(message: object) -> str:
    if isinstance(message, Mapping):
        return f"{message.get('role', '')}: {message.get('content', '')}"
    return f"{getattr(message, 'role', '')}: {getattr(message, 'content', message)}"
