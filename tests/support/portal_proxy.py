"""How the tests' Apache 2.4 is a portal's proxy: the server itself, and Open OnDemand's rules for its four paths.

As in the real one: /node/HOST/PORT/ passes on the whole path, /rnode/HOST/PORT/ what follows it; Host is the node's;
the Authorization header is taken out of requests (from 4.1 on); Location loses scheme and host, and gets
/rnode/HOST/PORT there; Set-Cookie loses Domain and gets the path /node/HOST/PORT or /rnode/HOST/PORT; a request with an
Upgrade header becomes a websocket. /secure-node and /secure-rnode (from 4.1 on) are the same to servers that speak TLS,
with what the portal's ssl_proxy says of their certificates.

What they lack: TLS in front, and the check of the host name against host_regex.
"""

from collections.abc import Iterable
from pathlib import Path
from string import Template

_PROXY_MODULES = ("rewrite", "headers", "proxy", "proxy_http", "proxy_wstunnel", "ssl")
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
RewriteRule "^/$prefix/([^/]+)/(\d+)(?:/|$$)" "ws$s://$$1:$$2$to%1" [P,NE]
RewriteCond "%{THE_REQUEST}" "$path"
RewriteRule "^/$prefix/([^/]+)/(\d+)(?:/|$$)" "http$s://$$1:$$2$to%1" [P,NE]
<LocationMatch "^/$prefix/(?<host>[^/]+)/(?<port>\d+)">
    RequestHeader unset Authorization
    RequestHeader set X-Forwarded-Proto "http"
    Header edit Location $location
    Header edit* Set-Cookie "(?i);\s*Domain=[^;]*" ""
    Header edit* Set-Cookie "(?i);\s*Path=[^;]*" ""
    Header edit Set-Cookie "^([^;]+)" "$$1; Path=/$prefix/%{MATCH_HOST}e/%{MATCH_PORT}e"
</LocationMatch>
""")


def _node(prefix: str, s: str) -> str:
    return _PASSED_ON.substitute(prefix=prefix, s=s, path=r"^\S+ ([^ ?]+)", to="", location='"^[^/]+//[^/]+" ""')


def _rnode(prefix: str, s: str) -> str:
    return _PASSED_ON.substitute(
        prefix=prefix,
        s=s,
        path=rf"^\S+ /{prefix}/[^/ ?]+/\d+/?([^ ?]*)",
        to="/",
        location=rf'"^([^/]+//[^/]+)|(?=/)|^([\./]{{1,}}(?<!/))" "/{prefix}/%{{MATCH_HOST}}e/%{{MATCH_PORT}}e"',
    )


NODE, RNODE = _node("node", ""), _rnode("rnode", "")
# Apache itself does not verify certificates, but looks at their names.
TRUSTING = ("SSLProxyVerify none", "SSLProxyCheckPeerCN off", "SSLProxyCheckPeerName off")


def verifying(authority: Path) -> tuple[str, ...]:
    """What ssl_proxy says where the portal knows who has signed the certificates of the nodes."""
    return "SSLProxyVerify require", f'SSLProxyCACertificateFile "{authority}"'


def secure(ssl_proxy: Iterable[str] = TRUSTING) -> str:
    """The rules for servers that speak TLS, with what the portal's ssl_proxy says."""
    lines = ["SSLProxyEngine on", *ssl_proxy]
    return "\n".join([*lines, _node("secure-node", "s"), _rnode("secure-rnode", "s"), ""])


def server(root: Path, port: int, more_modules: Iterable[str] = ()) -> str:
    """A server on this port of 127.0.0.1, with pages in ``root``/pages, that can be a proxy."""
    directory = next(Path(name) for name in _DIRECTORIES if Path(name).is_dir())
    names = [*_SERVER_MODULES, *_PROXY_MODULES, *more_modules]
    found = [(name, directory / f"mod_{name}.so") for name in names]
    modules = "\n".join(f"LoadModule {name}_module {path}" for name, path in found if path.exists())  # others: built in
    return _SERVER.substitute(modules=modules, root=root, port=port)
