"""Values like those of the list, which nobody has listed: the same must become of them."""

from __future__ import annotations

from typing import Any

#: (field, value, expect)
OTHERS: list[tuple[str, Any, str]] = [
    *[
        ("email", value, "reject")
        for value in (
            "u@\u0440\u0430ypal.com",  # Cyrillic letters in a Latin word
            "u@xn--ypal-43d9g.com",  # the same, as it travels
            "u@p\u03b1ypal.com",
            "u@example.com\u2028",
            "u@127.0.0.1",
            "u@0177.0.0.1",
            "u@[127.0.0.1]",
            "u@[::ffff:127.0.0.1]",
            "u@example.com%00",
            "u%0d%0a@example.com\r",
            "u\uff20example.com",
            "u@example.com\ud800",
            "u@localhost",
            "u@" + "a" * 64 + ".com",
            "u" * 65 + "@example.com",
            "u@e\u0000xample.com",
            "u@example.com>SIZE=1",
            "-u@example.com",
            "u@example,com",
            "<u@example.com>",
            "u@exam\u00adple.com\n",
            "u@example.com\x85",
            "mailto:u@example.com?bcc=e@evil.com",
        )
    ],
    *[
        ("display_name", value, "reject")
        for value in (
            "Bob\u2028X: 1",
            "Bob\u2029",
            "Bob\x1cX",
            "Bob\u3164",  # a letter that prints as nothing
            "B\u2800b",
            "Bob\U000e0041\U000e0042",  # a text hidden in tags
            "Bob\ufeff",
            "Bob\u2066x\u2069",
            "\U000f0000",
            "x" * 129,
        )
    ],
    *[
        ("first_name", value, "reject")
        for value in (
            "i\u2764.ws",
            "evil\u200d.com",
            "evil\u0338.com",
            "evil\ua4f8com",
            "\u0909\u0926\u093e\u0939\u0930\u0923.\u092d\u093e\u0930\u0924",
            "call 0800 555 0199",
            "hxxp://evil",
            "data:text/html,x",
            "boss\uff20evil.com",
            "%65vil",
            "x\u202ecom.live",
            "[evil](evil)",
            "&#x68;ttp",
            "{{ config }}",
            "{% raw %}",
            "${jndi:ldap://x}",
        )
    ],
    *[
        ("first_name", value, "accept")
        for value in (
            "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
            "\u0645\u062d\u0645\u062f",
            "Jos\u0065\u0301",
            "D'Angelo",
            "Sammy Davis Jr.",
        )
    ],
    *[("subject", value, "reject") for value in ("Hi\x85X: 1", "Hi\u2028", "Hi\U000e0041", "\u3164", " ")],
    *[
        ("action_url", value, "reject")
        for value in (
            "https://app.example.com%2eevil.com/",
            "https://app.example.com%00.evil.com/",
            "https://app.example.com./",
            "https://app.example.com;@evil.com/",
            "https://app.example.com:443:80/",
            "https://app.example.com\uff0eevil.com/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1%25eth0]/",
            "https://[::ffff:127.0.0.1]/",
            "//app.example.com/",
            "https:/app.example.com/",
            "https://app.example.com/\u202e",
            "https://app.example.com/a|b\n",
            "http://localhost:3000/",
            "data:text/html,x",
        )
    ],
    *[
        ("ip", value, "reject")
        for value in (
            "0177.0.0.1",
            "2130706433",
            "0x7f000001",
            "127.000.000.001",
            "1.2.3.4 ",
            "::1%25lo",
            "[::1]",
            "255.255.255.255",
            "240.0.0.1",
            "0.1.2.3",
            "::ffff:0.0.0.0",
            "1.2.3.4/32",
            "\uff11.2.3.4",
        )
    ],
    *[("template_name", value, "reject") for value in ("..", "wel come", "welcome\n", "_base", "-x")],
    *[("locale", value, "reject") for value in ("en_US.UTF-8", "e", "en-", "\u0435n", "en\x00", "x" * 50)],
    *[("token", value, "reject") for value in ("\u0430" * 20, "a b" * 10, "a'b\"c" * 4, "<script>" * 3)],
    *[
        ("header_name", value, "reject")
        for value in ("Bcc", "Subject", "X-A\n", "x-entity-ref-id", "X\u00c4")
    ],
    *[("header_value", value, "reject") for value in ("a\x7f", "a\u2028b", "a\tb", " ", "v" * 999)],
    *[("from_name", value, "reject") for value in ("Acme\u2028", "Acme\u202e", "=?utf-8?b?eA==?=")],
    *[("reply_to", value, "reject") for value in ("x <r@example.com>", "r@ex\u0430mple.com")],
]
