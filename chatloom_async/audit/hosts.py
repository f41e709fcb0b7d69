"""The host that a browser makes of a text; the door of ``can_ada`` and ``idna``.

``can_ada`` implements the WHATWG URL Standard with UTS #46, as browsers do: a backslash is a slash,
127.1 is 127.0.0.1, and what stands before an ``@`` is no host. Here is only what a list of domains
has besides URLs: hosts without a scheme, and wildcards as scheme or port. A list has no base that a
path were relative to: ``a/`` is the host ``a``, as where people type addresses. Not here: whether a
host is well-formed, and what it covers (``audit.domains``).
"""

import re
import unicodedata

from attrs import frozen

# WHATWG URL, basic URL parser: what is removed anywhere, and before and after.
_IGNORED = str.maketrans("", "", "\t\n\r")
_IGNORED_AROUND = "".join(map(chr, range(0x21)))
_SCHEME = re.compile(r"([a-z*][a-z0-9+.*-]*):", re.IGNORECASE)
_PORT_FOLLOWS = re.compile(r"(?:[0-9]+|\*)(?:[/\\?#]|$)")
_PORT = re.compile(r":(?:[0-9]*|\*)$")
_WEB = ("http", "https", "ws", "wss", "ftp")  # WHATWG URL, special schemes; a file has no host
_END = re.compile(r"[/\\?#]")
_RIGHT_TO_LEFT = ("R", "AL", "AN")  # RFC 5893 §1.4
_PICTURES = ("So", "Sk")
_KEYCAP = "\u20e3"  # the end of an emoji
_VARIATION = "\ufe0f"  # asks for the coloured form of an emoji; UTS #46 ignores it


@frozen
class Reading:
    """What a browser makes of a text."""

    host: str  # as it is asked for, a final dot included; "" when the text is refused
    written: str  # the host as it is written
    url: bool = False  # there is more than a host
    credentials: bool = False  # there is something before an "@"
    scheme_only: bool = False  # there is nothing but a scheme, as in "https:"

    @property
    def hidden(self) -> bool:
        """The host is not what a person reads: signs in it are read as others."""
        folded = _folded(self.written)
        return folded not in (self.host, shown(self.host))


def trimmed(text: str) -> str:
    """Return a text without the white space that browsers ignore, and none around it."""
    return text.translate(_IGNORED).strip(_IGNORED_AROUND).strip()


def read_host(bare: str) -> Reading | None:
    """Return what a browser makes of a trimmed text; None when its scheme is not of the web."""
    scheme = _scheme(bare)
    if scheme and scheme not in _WEB and "*" not in scheme:
        return None
    rest = bare[len(scheme) + 1 :] if scheme else bare
    after = rest.lstrip("/\\")
    if not scheme and len(rest) - len(after) == 1:
        return Reading("", "", url=True)  # a path
    end = _END.search(after)
    authority = after[: end.start()] if end else after
    credentials, at, place = authority.rpartition("@")
    written = _PORT.sub("", place)
    host = _browsed(
        f"{scheme if scheme in _WEB else 'https'}://{credentials}{at}"
        f"{written if place.endswith(':*') else place}{after[len(authority) :]}"
    )
    more = bool(scheme) or rest != written
    return Reading(host, written, more, bool(at), bool(scheme) and not after)


def shown(host: str) -> str:
    """Return a host as people read it: what is punycode (RFC 3492) in it decoded."""
    return ".".join(
        label[4:].encode().decode("punycode") if label.startswith("xn--") else label
        for label in host.split(".")
    )


def is_idna(host: str) -> bool:
    """Tell a host of which IDNA 2008 allows every label, but for emoji, which it does not know.

    UTS #46 and browsers ask for the Bidi rule (RFC 5893) as well; ``can_ada`` leaves it out.
    """
    from idna import IDNAError, check_bidi, check_label  # noqa: PLC0415 - few entries need it

    labels = ["".join(map(_plain, label)) for label in shown(host).split(".")]
    try:
        for label in labels:
            if not label.isascii():
                check_label(label)
        if any(unicodedata.bidirectional(sign) in _RIGHT_TO_LEFT for sign in "".join(labels)):
            for label in labels:
                check_bidi(label, check_ltr=True)
    except IDNAError:
        return False
    return True


def _scheme(bare: str) -> str:
    """Return the scheme in lower case; "" where a host and its port stand."""
    found = _SCHEME.match(bare)
    if not found:
        return ""
    scheme, after = found[1].lower(), bare[found.end() :]
    before_port = _PORT_FOLLOWS.match(after) or ("." in scheme and not after)
    return "" if before_port and scheme not in _WEB else scheme


def _browsed(url: str) -> str:
    # Imported on first use: few entries need it.
    from can_ada import parse  # noqa: PLC0415 - said above

    # JavaScript's strings become URLs with U+FFFD in place of a lone surrogate.
    whole = url.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    try:
        return parse(whole).hostname
    except ValueError:
        return ""


def _folded(written: str) -> str:
    """Return a host in lower case and composed: what a reader takes for the same.

    UTS #46 also maps letters to others and drops invisible ones: that is not the same to a reader.
    """
    if written.isascii():
        return written.lower()
    folded = unicodedata.normalize("NFC", "".join(map(_lower, written)))
    if _VARIATION not in folded:
        return folded
    signs = zip(f"\0{folded}", folded, strict=False)
    return "".join(sign for before, sign in signs if sign != _VARIATION or not _is_emoji(before))


def _lower(letter: str) -> str:
    """Return a letter in lower case, unless that makes a plain one of a special one (U+212A: k)."""
    lower = letter.lower()
    return letter if lower.isascii() and not letter.isascii() else lower


def _is_emoji(sign: str) -> bool:
    return unicodedata.category(sign) in _PICTURES or sign == _KEYCAP


def _plain(sign: str) -> str:
    """Return a digit for an emoji: it is in order beside letters of either direction."""
    return "0" if not sign.isascii() and _is_emoji(sign) else sign
