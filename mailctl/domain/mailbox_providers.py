"""The providers of well-known mailboxes, by domain: what one refuses, it refuses for all its domains."""

from __future__ import annotations

#: The domains of each provider; a trailing `.*` stands for any country.
PROVIDER_DOMAINS: dict[str, tuple[str, ...]] = {
    "Google": ("gmail.com", "googlemail.com"),
    "Microsoft": ("outlook.*", "hotmail.*", "live.*", "msn.com", "passport.com"),
    "Yahoo": ("yahoo.*", "ymail.com", "rocketmail.com", "aol.*", "aim.com", "verizon.net"),
    "Apple": ("icloud.com", "me.com", "mac.com"),
    "Proton": ("proton.me", "protonmail.com", "pm.me"),
    "GMX and WEB.DE": ("gmx.*", "web.de", "mail.com"),
    "T-Online": ("t-online.de", "magenta.de"),
    "Orange": ("orange.fr", "wanadoo.fr"),
    "Free": ("free.fr",),
    "Comcast": ("comcast.net", "xfinity.com"),
    "Yandex": ("yandex.*", "ya.ru"),
    "Mail.ru": ("mail.ru", "bk.ru", "inbox.ru", "list.ru"),
    "Tencent": ("qq.com", "foxmail.com"),
    "NetEase": ("163.com", "126.com", "yeah.net"),
    "Naver": ("naver.com",),
    "Zoho": ("zoho.com", "zohomail.com"),
    "Fastmail": ("fastmail.com", "fastmail.fm"),
}
#: The name for all other domains: whose servers they use, only DNS tells.
OTHER_PROVIDER = "other domains"
