"""What stands in front of the Dashboard: Apache 2.4, with a login, and the rules of Open OnDemand's proxies.

As in the real one: nobody gets past without a login; the portal's own cookie is taken out, X-Forwarded-User is the
user's; /pun/ is the user's own server. The proxies are those of tests/support/portal_proxy.py, or the portal's own: see
tests/support/ondemand.py.

What it lacks, beside what they lack: OpenID; more than one user.
"""

import base64
import hashlib
from pathlib import Path
from string import Template

from tests.support import ondemand
from tests.support.portal_proxy import server

USER, PASSWORD = "scientist", "of the portal"
PORT, DASHBOARD_PORT = 8080, 8081  # on a machine of its own
ORIGIN = f"http://127.0.0.1:{PORT}"
_LOGIN_MODULES = ("authn_core", "authn_file", "authz_user", "auth_form", "request", "session", "session_cookie")

_LOGIN_AND_DASHBOARD = Template(r"""
<Location "/">
    AuthType Form
    AuthName portal
    AuthFormProvider file
    AuthUserFile "$root/users"
    AuthFormLoginRequiredLocation "/login.html"
    Session On
    SessionCookieName portal_session path=/
    Require valid-user
    RequestHeader set X-Forwarded-User "expr=%{REMOTE_USER}"
    RequestHeader edit* Cookie "portal_session=[^;]+;?" ""
</Location>
<Location "/login.html">
    AuthType None
    Require all granted
</Location>
<Location "/login">
    SetHandler form-login-handler
    AuthFormLoginSuccessLocation "/pun/sys/dashboard/batch_connect/sessions"
</Location>

ProxyPass "/pun/" "http://127.0.0.1:$dashboard/pun/"
""")

_LOGIN = """<!DOCTYPE html>
<title>Log in</title>
<form method="post" action="/login">
<input name="httpd_username" id="user"> <input name="httpd_password" id="password" type="password">
<button type="submit" id="login">Log in</button>
</form>
"""


def write(root: Path) -> Path:
    """Write the configuration, the login's page and the only user into ``root``; the configuration's path."""
    (root / "pages").mkdir(parents=True)
    (root / "pages" / "login.html").write_text(_LOGIN)
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    (root / "users").write_text(f"{USER}:{{SHA}}{digest}\n")
    configuration = root / "httpd.conf"
    ours = _LOGIN_AND_DASHBOARD.substitute(root=root, dashboard=DASHBOARD_PORT)
    rules, modules = ondemand.rules(root, PORT)
    configuration.write_text(server(root, PORT, (*_LOGIN_MODULES, *modules)) + ours + rules)
    return configuration
