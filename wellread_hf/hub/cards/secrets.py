"""What looks like a secret in a text: tokens, passwords and private keys, by their form.

The patterns are those of `detect-secrets`, plus ours for what it lacks or recognises in whole files alone.
Its entropy and keyword plugins are left out, because they flag vocabularies and digests. Three others are
left out because they take hours on a long word of the right letters.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from html import unescape
from importlib import import_module
from typing import Any

_PLUGINS = (
    "aws.AWSKey", "azure_storage_key.AzureStorageKey", "basic_auth.BasicAuth", "discord.DiscordBotToken",
    "github_token.GitHubToken", "gitlab_token.GitLabToken", "mailchimp.Mailchimp",
    "private_key.PrivateKey", "pypi_token.PypiToken", "sendgrid.SendGrid",
    "slack.Slack", "square_oauth.SquareOAuth", "stripe.Stripe", "telegram_token.TelegramBotToken",
    "twilio.TwilioKey",
)  # fmt: skip
_PATTERNS = {
    kind: re.compile(pattern)
    for kind, pattern in {
        "Hub token": r"(?:hf_|api_org_)[A-Za-z0-9]{30,}",
        "GitHub token": r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{36,}",
        "GitLab token": r"glpat-[A-Za-z0-9_.-]{20,}",
        "Slack token": r"(?:xox[a-z]|xapp)-[A-Za-z0-9-]{16,}",
        # Within the base64 of a tokenizer four such letters come by chance.
        "Google key": r"(?<![A-Za-z0-9+/])AIza[\w-]{35}|GOCSPX-[\w-]{28}|ya29\.[\w-]{40,}",
        "npm token": r"npm_[A-Za-z0-9]{36,}|_authToken\s*=\s*[\w-]{20,}",
        "PyPI token": r"pypi-[A-Za-z0-9_-]{50,}",
        "model service key": r"(?<![A-Za-z0-9])"
        r"(?:sk-[A-Za-z0-9_-]{32,}|gsk_[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{30,})",
        "JSON Web Token": r"(?<![\w-])eyJ[\w-]{8,}\.ey[\w-]{8,}",
        "private key": r"BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY|PuTTY-User-Key-File-\d|AGE-SECRET-KEY-1",
        # Forty hexadecimal digits are a key of W&B beside its name alone; elsewhere they are a commit.
        "W&B key": r"wandb_v1_\w{40,}"
        r"|(?i:wandb|w&b|weights.{1,5}biases)(?:(?!revision|commit)[^@]){0,60}?"
        r"(?<![0-9A-Za-z@])[0-9a-f]{40}(?![0-9A-Za-z])",
        "AWS secret key": r"(?i:aws|secret.?(?:access.?)?key).{0,40}?(?<![A-Za-z0-9/+])(?![0-9a-f]{40})"
        r"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
        "password in an address": r"://[^\s/@:\"'<>]*:[^\s/@\"'<>]+@",
    }.items()
}
_ESCAPED = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)


# The models of a family have one tokenizer.
@lru_cache(maxsize=16)
def secrets_in(text: str) -> Sequence[str]:
    """Returns the kinds of what looks like a secret in a text; the secrets themselves are not quoted."""
    # Escaped for JSON or Markdown, a letter has another form, and a line break hides where a token begins.
    forms = (text, _ESCAPED.sub(_plain, text), unescape(text))
    text = "\n".join(dict.fromkeys(forms)).replace("\0", "")
    found = [kind for kind, pattern in _PATTERNS.items() if pattern.search(text)]
    found += [plugin.secret_type for plugin in _plugins() if any(plugin.analyze_string(text))]
    return found


def _plain(escaped: re.Match[str]) -> str:
    letter = escaped[1]
    return (
        chr(int(letter[1:], 16)) if len(letter) > 1 else {"n": "\n", "t": "\t", "r": "\r"}.get(letter, letter)
    )


@cache
def _plugins() -> Sequence[Any]:
    # Here, not above: it takes a third of a second, and most commands have nothing to look through.
    found = []
    for name in _PLUGINS:
        module, _, detector = name.partition(".")
        found.append(getattr(import_module(f"detect_secrets.plugins.{module}"), f"{detector}Detector")())
    return found
