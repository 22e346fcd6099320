"""How the tests' Apache 2.4 is a portal's proxy: the server itself, and Open OnDemand's rules for /node and /rnode.

As in the real one: /node/HOST/PORT/ passes on the whole path, /rnode/HOST/PORT/ what follows it; Host is the node's;
the Authorization header is taken out of requests (from 4.1 on); Location loses scheme and host, and gets
/rnode/HOST/PORT there; Set-Cookie loses Domain and gets the path /node/HOST/PORT or /rnode/HOST/PORT; a request with an
Upgrade header becomes a websocket.

What they lack: TLS, so /secure-node and /secure-rnode too, and the check of the host name against host_regex.
"""

from collections.abc import Iterable
from pathlib import Path
from string import Template

_PROXY_MODULES = ("rewrite", "headers", "proxy", "proxy_http", "proxy_wstunnel")
_DIRECTORIES = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/etc/httpd/modules")
_SERVER_MODULES = ("mpm_event", "unixd", "authz_core", "alias", "dir", "mime", "env", "setenvif")

# In these, $$ is a dollar for Apache.
_SERVER = Template(r"""
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
""")

# THE_REQUEST holds the path as it came, with its escapes; the query follows by itself.
_PASSED_ON = Template(r"""
RewriteEngine on
RewriteCond "%{HTTP:Upgrade}" "."
RewriteCond "%{THE_REQUEST}" "$path"
RewriteRule "^/$prefix/([^/]+)/(\d+)(?:/|$$)" "ws://$$1:$$2$to%1" [P,NE]
RewriteCond "%{THE_REQUEST}" "$path"
RewriteRule "^/$prefix/([^/]+)/(\d+)(?:/|$$)" "http://$$1:$$2$to%1" [P,NE]
<LocationMatch "^/$prefix/(?<host>[^/]+)/(?<port>\d+)">
    RequestHeader unset Authorization
    RequestHeader set X-Forwarded-Proto "http"
    Header edit Location $location
    Header edit* Set-Cookie "(?i);\s*Domain=[^;]*" ""
    Header edit* Set-Cookie "(?i);\s*Path=[^;]*" ""
    Header edit Set-Cookie "^([^;]+)" "$$1; Path=/$prefix/%{MATCH_HOST}e/%{MATCH_PORT}e"
</LocationMatch>
""")
NODE = _PASSED_ON.substitute(prefix="node", path=r"^\S+ ([^ ?]+)", to="", location='"^[^/]+//[^/]+" ""')
RNODE = _PASSED_ON.substitute(
    prefix="rnode",
    path=r"^\S+ /rnode/[^/ ?]+/\d+/?([^ ?]*)",
    to="/",
    location=r'"^([^/]+//[^/]+)|(?=/)|^([\./]{1,}(?<!/))" "/rnode/%{MATCH_HOST}e/%{MATCH_PORT}e"',
)


def server(root: Path, port: int, more_modules: Iterable[str] = ()) -> str:
    """A server on this port of 127.0.0.1, with pages in ``root``/pages, that can be a proxy."""
    directory = next(Path(name) for name in _DIRECTORIES if Path(name).is_dir())
    names = [*_SERVER_MODULES, *_PROXY_MODULES, *more_modules]
    found = [(name, directory / f"mod_{name}.so") for name in names]
    modules = "\n".join(f"LoadModule {name}_module {path}" for name, path in found if path.exists())  # others: built in
    return _SERVER.substitute(modules=modules, root=root, port=port)
