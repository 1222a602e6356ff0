"""URLs in messages: no part of a password is shown."""

import re

_QUERY = re.compile(r"(\b(?:ssl)?password=)[^&]*")
_WORD = re.compile(r"\S*://\S*|\S*:/\S*@\S*")  # a path has one slash
_NO_LOGIN = re.compile(r"[^/@:?]*(:\d+)?/[^/@?]*\?\w+=")  # host:port/name?key=


def masked(url: str, *, keep_user: bool = True) -> str:
    """Return a URL with *** for its password, or for user name and password.

    A password may contain any character, so that it ends at the last @.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:  # a mistyped URL
        return re.sub(r":(?!/).*@", ":***@", url, flags=re.DOTALL)
    if rest.startswith("/"):  # a file
        return url
    rest = _QUERY.sub(r"\1***", rest)
    login, at, host = ("", "", rest) if _NO_LOGIN.match(rest) else rest.rpartition("@")
    user, colon, _ = login.partition(":")
    if at and not keep_user:
        login = "***"
    elif colon:
        login = f"{user}:***"
    return f"{scheme}://{login}{at}{host}"


def masked_words(text: str) -> str:
    """Return a text with the URLs in it masked; a URL ends at a space."""
    return _WORD.sub(lambda found: masked(found[0]), text)
