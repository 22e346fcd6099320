"""What stands in front of the Dashboard: Apache 2.4, with a login, and the rules of Open OnDemand's proxies.

As in the real one: nobody gets past without a login; /node/HOST/PORT/ passes the whole path on, /rnode/HOST/PORT/ takes
it away; Location and Set-Cookie are edited, Authorization and the portal's own cookie are taken out, X-Forwarded-User
is the user's; /pun/ is the user's own server.

What it lacks: TLS, so /secure-node and /secure-rnode too; OpenID; more than one user.
"""

import base64
import hashlib
from pathlib import Path
from string import Template

from tests.e2e.portal import MODULE_DIRECTORIES

USER, PASSWORD = "scientist", "of the portal"
PORT, DASHBOARD_PORT = 8080, 8081  # on a machine of its own
ORIGIN = f"http://127.0.0.1:{PORT}"
_MODULES = (
    *("mpm_event", "unixd", "authn_core", "authn_file", "authz_core", "authz_user", "auth_form", "request", "session"),
    *("session_cookie", "alias", "dir", "mime", "headers", "rewrite", "env", "setenvif"),
    *("proxy", "proxy_http", "proxy_wstunnel"),
)

# $$ is a dollar for Apache.
_CONFIGURATION = Template(r"""
$modules
ServerRoot "$root"
ServerName 127.0.0.1
Listen 127.0.0.1:$port
PidFile "$root/httpd.pid"
ErrorLog "$root/error.log"
LogLevel warn
Mutex file:$root
DefaultRuntimeDir "$root"
ServerLimit 2
ThreadsPerChild 25
MaxRequestWorkers 50
TypesConfig /dev/null
AddType text/html .html
DocumentRoot "$root/pages"

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
    RequestHeader set X-Forwarded-Proto "http"
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

RewriteEngine on
# THE_REQUEST holds the path as it came, with its escapes; the query follows by itself.
RewriteCond "%{HTTP:Upgrade}" "."
RewriteCond "%{THE_REQUEST}" "^\S+ ([^ ?]+)"
RewriteRule "^/node/([^/]+)/(\d+)(?:/|$$)" "ws://$$1:$$2%1" [P,NE]
RewriteCond "%{THE_REQUEST}" "^\S+ ([^ ?]+)"
RewriteRule "^/node/([^/]+)/(\d+)(?:/|$$)" "http://$$1:$$2%1" [P,NE]
RewriteCond "%{HTTP:Upgrade}" "."
RewriteCond "%{THE_REQUEST}" "^\S+ /rnode/[^/ ]+/\d+/?([^ ?]*)"
RewriteRule "^/rnode/([^/]+)/(\d+)(?:/|$$)" "ws://$$1:$$2/%1" [P,NE]
RewriteCond "%{THE_REQUEST}" "^\S+ /rnode/[^/ ]+/\d+/?([^ ?]*)"
RewriteRule "^/rnode/([^/]+)/(\d+)(?:/|$$)" "http://$$1:$$2/%1" [P,NE]

<LocationMatch "^/node/(?<host>[^/]+)/(?<port>\d+)">
    RequestHeader unset Authorization
    Header edit Location "^[^/]+//[^/]+" ""
    Header edit* Set-Cookie "(?i);\s*Domain=[^;]*" ""
    Header edit* Set-Cookie "(?i);\s*Path=[^;]*" ""
    Header edit Set-Cookie "^([^;]+)" "$$1; Path=/node/%{MATCH_HOST}e/%{MATCH_PORT}e"
</LocationMatch>
<LocationMatch "^/rnode/(?<host>[^/]+)/(?<port>\d+)(?<uri>/.*|)">
    RequestHeader unset Authorization
    Header edit Location "^([^/]+//[^/]+)|(?=/)|^([\./]{1,}(?<!/))" "/rnode/%{MATCH_HOST}e/%{MATCH_PORT}e"
    Header edit* Set-Cookie "(?i);\s*Domain=[^;]*" ""
    Header edit* Set-Cookie "(?i);\s*Path=[^;]*" ""
    Header edit Set-Cookie "^([^;]+)" "$$1; Path=/rnode/%{MATCH_HOST}e/%{MATCH_PORT}e"
</LocationMatch>
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
    directory = next(Path(name) for name in MODULE_DIRECTORIES if Path(name).is_dir())
    found = [(name, directory / f"mod_{name}.so") for name in _MODULES]
    modules = "\n".join(f"LoadModule {name}_module {path}" for name, path in found if path.exists())
    configuration = root / "httpd.conf"
    configuration.write_text(_CONFIGURATION.substitute(modules=modules, root=root, port=PORT, dashboard=DASHBOARD_PORT))
    return configuration
