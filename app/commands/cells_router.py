"""What a stock haproxy (2.6 or newer) is told, so that each request comes to its own cell.

First the id in its address counts, then the credential that it shows, then what its body names; a
new purchase goes where its key says, and what is left to any cell that lives. A request that
belongs to a cell is never passed on to another one.
"""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from app.commands.cells_file import Cells
from app.http import visitors
from app.http.caller import COOKIE as LOGIN_COOKIE
from app.http.dialect import MCP_AT, PREFIX, QUOTES_AT, STOCK_PREFIX, V1_PREFIX, dialect_of
from app.keys import stock_keys
from app.keys.api_keys import Prefix
from app.refusal import Why
from app.web.worker_view import COOKIE as WORKER_COOKIE
from app.web.worker_view import PATH as WORKER_PATH

BUCKETS: Final = 1_024  # of purchase keys; each is one cell's
RETRY_S: Final = 5
MOST_WORDS: Final = 32  # of a list: a line of haproxy's has 64 at most
HEADER: Final = "Boltwork-Cell"  # by which a client names a cell where nothing else does
QUERY: Final = "cell"
AWAY: Final = (
    "The part of this service that has this can not be reached just now. Repeat the same request,"
    " with the same Idempotency-Key if it has one."
)
UNKNOWN: Final = "There is nothing with this id here. Check it."
# People sign in at home alone, and spells are published, found and paid for there.
AT_HOME: Final = (
    "/api/auth/", "/api/lnurl/auth/", "/api/account", "/api/v1/user/", "/account", "/operator",
    "/api/v1/spells", "/spells",
)  # fmt: skip
# Addresses of each dialect, the narrower ones first.
_SURFACES: Final = (
    *(("path", path) for path in (QUOTES_AT, MCP_AT)),
    *(("path", V1_PREFIX + path) for path in ("generations/execute", "spells/cast")),
    *(("path_beg", V1_PREFIX + name) for name in ("workers", "leases/")),
    *(("path_beg", V1_PREFIX + name) for name in ("jobs", "users", "credits", "tiers", "models")),
    *(("path_beg", prefix) for prefix in (PREFIX, V1_PREFIX, STOCK_PREFIX)),
    ("path_beg", "/"),
)
_START: Final = """\
# Printed by `boltwork cells`: change the file that names the cells, and print it anew.
global
    maxconn 4000
    tune.bufsize 65536

defaults
    mode http
    maxconn 4000
    timeout connect 2s
    timeout client 75s
    timeout server 75s
    timeout http-request 30s
    timeout http-keep-alive 60s
    option forwardfor

"""
# How an id goes on behind the digits of its cell, with hyphens or without.
_REST: Final = "[0-9a-f]{6}(-?)" + 3 * "[0-9a-f]{4}(-?)" + "[0-9a-f]{12}"
# What a macaroon begins with in base64: of a session's the 15th byte is the cell, and of one that
# is paid by the call the 44th. Both are read in either alphabet, and the second in hex.
_OF_SESSION, _OF_CALL, _OF_CALL_IN_HEX = "AgEIYm9sdHdvcm", "AgEEbHNhdAJC", "0201046c736174"
_PLAIN: Final = (
    r"""regsub("^ *[^ ]+ +",""),regsub("[^-A-Za-z0-9+/=_:,]","",g)"""
    r""",regsub("[+]","-",g),regsub("/","_",g)"""
)
_LOGIN: Final = "-m reg '^[0-9a-f]{64}$'"
_AUTHORIZATION, _OWN = "req.fhdr(authorization)", "req.fhdr(payment-authorization)"
_KEY, _STOCK_KEY, _ORDER = "req.fhdr(x-api-key)", "req.fhdr(apikey)", "req.fhdr(payment-signature)"
_TEXT, _HELD = "var(txn.text)", "var(txn.key)"
_NAMED: Final = "hdr X-Request-Id %[unique-id]"
_BYTE: Final = "bytes({},1),hex,lower"
_OF_A_CELL: Final = """\
    option httpchk GET /api/readyz
    http-check expect status 200
    option redispatch 1
    retries 2
    retry-on conn-failure
    option srvtcpka
    srvtcpka-idle 5s
    srvtcpka-intvl 1s
    srvtcpka-cnt 3
    default-server check inter 1s fall 2 rise 1 tcp-ut 5s
"""


def configuration(cells: Cells) -> str:
    """Return the configuration, whole: one frontend, a backend for each cell, and one for any."""
    secure = f" ssl crt {cells.certificate} alpn h2,http/1.1" if cells.certificate else ""
    lines = [
        *(_START + "frontend buyers").splitlines(),
        f"    bind {cells.bind}{secure}",
        "    unique-id-format %[uuid]",
        *_in_lines("acl is_ours var(txn.by) -m str", list(cells.hosts)),
        *_in_lines("acl is_there var(txn.cell) -m str", list(cells.hosts)),
        *_envelopes(),
        "    acl is_form req.hdr(content-type) -m beg -i application/x-www-form-urlencoded",
        "    acl is_read path"
        f" {MCP_AT} {V1_PREFIX}generations/status {STOCK_PREFIX}generate/submit",
        "    http-request wait-for-body time 30s if { method POST } is_form or is_read",
        *_by_address(),
        *_by_credential(),
        *_by_cookie(),
        *_by_word(cells.home),
        "    http-request return status 404 content-type application/json"
        f" lf-string '%[var(txn.unknown)]' {_NAMED} if is_named !is_there",
        "",
        *_spread(cells),
        "    use_backend cell_%[var(txn.cell)] if is_named",
        "    default_backend any",
    ]
    for digits, places in cells.hosts.items():
        lines += ["", f"backend cell_{digits}", "    balance roundrobin", *_checked()]
        lines += [f"    server {digits}-{at} {place}" for at, place in enumerate(places, start=1)]
    lines += ["", "backend any", "    balance roundrobin", *_answered_away()]
    lines += ["    option redispatch 1", "    retries 2", "    retry-on conn-failure"]
    for digits in cells.selling:
        for at, place in enumerate(cells.hosts[digits], start=1):
            name = f"{digits}-{at}"
            lines.append(f"    server {name} {place} tcp-ut 5s track cell_{digits}/{name}")
    return "\n".join(lines) + "\n"


def bucket_owners(selling: Sequence[str]) -> list[str]:
    """Return the cell of each bucket: one that is added takes its part of each of the others."""
    return [max(selling, key=lambda digits: _weight(bucket, digits)) for bucket in range(BUCKETS)]


def _weight(bucket: int, digits: str) -> bytes:
    return sha256(f"{bucket} {digits}".encode()).digest()


def _set(name: str, sample: str, when: str) -> str:
    return f"    http-request set-var(txn.{name}) {sample} if {when}"


def _found() -> str:
    """Return the rule that takes what was read as the cell, where that is one of ours."""
    return _set("cell", "var(txn.by)", "!is_named is_ours")


def _in_body(name: str, path: str) -> str:
    """Return the rule that reads the id which a body of JSON names."""
    return _set("by", f"req.body,json_query('{name}'),bytes(0,2)", f"!is_named {{ path {path} }}")


def _by_address() -> Iterator[str]:
    """Yield how the id of an address is read, and the one that a tool of MCP is asked about."""
    yield "    # The id in the address: its first two digits."
    yield f"    acl has_id path -m reg '/[0-9a-f]{{2}}{_REST}(/|$)'"
    first = f'regsub("^.*?/([0-9a-f]{{2}}){_REST}(/.*)?$","\\1")'
    yield _set("cell", f"path,'{first}'", "has_id")
    yield "    acl is_named var(txn.cell) -m found"
    yield _in_body("$.params.arguments.id", MCP_AT)
    yield _found()


def _by_credential() -> Iterator[str]:
    """Yield how credentials are read: of keys and logins the text, of macaroons their base64."""
    yield "    # The credential."
    yield f"    http-request set-var(txn.shown) {_AUTHORIZATION}"
    yield _set("shown", _OWN, f"{{ {_OWN} -m found }}")
    for name, schemes in (("bearer", "bearer"), ("paid", "(l402|lsat)"), ("mpp", "payment")):
        yield f"    acl is_{name} var(txn.shown) -m reg -i '^ *{schemes} '"
    yield _set("text", f"var(txn.shown),'{_PLAIN}'", "is_bearer or is_paid or is_mpp")
    yield _set("key", _TEXT, "is_bearer")
    yield _set("key", f'{_KEY},\'regsub("^ +","")\'', f"{{ {_KEY} -m found }}")
    yield _set("key", "req.body_param(token)", "is_form { path /workers/me/unlock }")
    for prefix in Prefix:
        yield _set("by", f"{_HELD},bytes({len(prefix)},2)", f"{{ {_HELD} -m beg {prefix} }}")
    yield _set("by", f"{_HELD},bytes(0,2)", f"{{ {_HELD} {_LOGIN} }}")
    yield _set("by", f"{_STOCK_KEY},bytes(0,2)", f"{{ {_STOCK_KEY} -m len {stock_keys.LENGTH} }}")
    for begins, chars, at in ((_OF_SESSION, 20, 14), (_OF_CALL, 60, 43)):
        sample = f"{_TEXT},bytes(0,{chars}),ub64dec,{_BYTE.format(at)}"
        yield _set("by", sample, f"{{ {_TEXT} -m beg {begins} }}")
    in_hex = f"is_paid {{ {_TEXT} -m beg -i {_OF_CALL_IN_HEX} }}"
    yield _set("by", f"{_TEXT},bytes(86,2),lower", in_hex)
    its_id = f"{_TEXT},ub64dec,json_query('$.challenge.id')"
    yield _set("by", f"{its_id},bytes(0,4),ub64dec,{_BYTE.format(0)}", "is_mpp")
    order = f"{_ORDER},b64dec,json_query('$.accepted.extra.cell')"
    yield _set("by", order, f"{{ {_ORDER} -m found }}")
    yield _found()


def _by_cookie() -> Iterator[str]:
    """Yield how a browser's cookies are read, where nothing else counts."""
    yield "    # The cookies of a browser."
    for cookie, path in ((visitors.COOKIE, visitors.PATH), (WORKER_COOKIE, WORKER_PATH)):
        yield _set("by", f"req.cook({cookie}),bytes(0,2)", f"!is_named {{ path_beg {path} }}")
    login = f"req.cook({LOGIN_COOKIE})"
    yield _set("by", f"{login},bytes(0,2)", f"!is_named {{ {login} {_LOGIN} }}")
    yield _found()


def _by_word(home: str) -> Iterator[str]:
    """Yield how the ids of a body are read, what the client says, and what is home's alone."""
    yield "    # The ids in a body, what the client says itself, and what is the home cell's alone."
    yield _in_body("$.generationIds[0]", f"{V1_PREFIX}generations/status")
    yield _in_body("$.id", f"{STOCK_PREFIX}generate/submit")
    yield _found()
    for said in (f"url_param({QUERY})", f"req.hdr({HEADER})"):
        yield _set("by", said, f"{{ {said} -m found }}")
    yield _found()
    yield _set("cell", f"str({home})", f"!is_named {{ path_beg {' '.join(AT_HOME)} }}")


def _spread(cells: Cells) -> Iterator[str]:
    """Yield which cell each purchase key goes to, where nothing else says it."""
    yield "    # A new purchase goes where its key says: the same key always to the same cell."
    yield "    http-request set-var(txn.named) req.body_param(key) if is_form"
    yield (
        "    http-request set-var(txn.named)"
        f" req.body,json_query('$.params.arguments.purchaseKey') if {{ path {MCP_AT} }}"
    )
    yield (
        "    http-request set-var(txn.named) req.fhdr(idempotency-key)"
        " if { req.fhdr(idempotency-key) -m found }"
    )
    yield (
        f"    http-request set-var(txn.bucket) var(txn.named),xxh32,mod({BUCKETS})"
        " if !is_named { var(txn.named) -m len gt 0 }"
    )
    owners = bucket_owners(cells.selling)
    for digits in cells.selling:
        mine = [str(bucket) for bucket, owner in enumerate(owners) if owner == digits]
        yield from _in_lines(f"acl is_of_{digits} var(txn.bucket) -m int", mine)
        yield f"    http-request set-var(txn.cell) str({digits}) if !is_named is_of_{digits}"


def _in_lines(begins: str, values: Sequence[str]) -> Iterator[str]:
    """Yield an ACL whose values may be too many for one line of haproxy's."""
    for at in range(0, len(values), MOST_WORDS):
        yield f"    {begins} {' '.join(values[at : at + MOST_WORDS])}"


def _envelopes() -> Iterator[str]:
    """Yield what is answered in the words of each surface, before anything else is decided."""
    yield "    # What is answered here, in the words of the surface that was asked."
    for kind, path in _SURFACES:
        unless = "!{ var(txn.away) -m found }"
        dialect = dialect_of(path)
        facts: dict[str, str | int] = {"requestId": "%[unique-id]"}
        unknown = json.dumps(dialect.envelope(UNKNOWN, dialect.word(Why.UNKNOWN), facts))
        if dialect.retry_field is not None:
            facts = {dialect.retry_field: RETRY_S, **facts}
        told = json.dumps(dialect.envelope(AWAY, dialect.word(Why.NOT_WELL), facts))
        once = f"if {{ {kind} {path} }} {unless}"
        yield f"    http-request set-var-fmt(txn.unknown) '{unknown}' {once}"
        yield f"    http-request set-var-fmt(txn.away) '{told}' {once}"


def _answered_away() -> Iterator[str]:
    for status in (502, 503, 504):
        yield (
            f"    http-error status {status} content-type application/json"
            f" lf-string '%[var(txn.away)]' hdr Retry-After {RETRY_S} {_NAMED}"
        )


def _checked() -> Iterator[str]:
    yield from _OF_A_CELL.splitlines()
    yield from _answered_away()
