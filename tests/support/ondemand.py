"""The proxies of Open OnDemand itself in place of our stand-in, where OOD_TEST_ONDEMAND names a copy of its source.

Its own generator writes the configuration, and its own Lua, mod_ood_proxy, handles the requests. Needs Ruby, Apache's
mod_lua and lua-posix. What is behind stays that of the tests: a user's own server is not started.
"""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import yaml

from tests.support.portal_proxy import NODE, RNODE, TRUSTING, secure

_MODULES = ("log_config", "lua")
# As its `generate` does, without the gems that this needs to look at the system.
_GENERATE = """
module OodPortalGenerator
  def self.debian? = true
  def self.fqdn = "localhost"
end
require "ood_portal_generator/version"
require "ood_portal_generator/view"
puts OodPortalGenerator::View.new(YAML.load($stdin.read)).render(File.read(ARGV[0]))
"""


def rules(
    root: Path, port: int, ssl_proxy: Iterable[str] = TRUSTING, *, login: bool = True
) -> tuple[str, tuple[str, ...]]:
    """The rules of the proxies of a server on ``port`` with files in ``root``, and the modules that they need more.

    The real ones are what the portal's administrator gets from ood_portal.yml, of any release from 3.0 on. Without a
    ``login`` everybody is the same user.
    """
    if "OOD_TEST_ONDEMAND" not in os.environ:
        return NODE + RNODE + secure(ssl_proxy), ()
    place = Path(os.environ["OOD_TEST_ONDEMAND"])
    settings = {
        "port": port,
        "logroot": str(root),
        "lua_root": str(place / "mod_ood_proxy" / "lib"),
        "auth": ["Require valid-user" if login else "Require all granted"],
        "user_env": None if login else "SOMEBODY",
        "custom_vhost_directives": [] if login else ['SetEnvIf Request_URI "." SOMEBODY=somebody'],
        "node_uri": "/node",
        "rnode_uri": "/rnode",
        "secure_node_uri": "/secure-node",
        "secure_rnode_uri": "/secure-rnode",
        "ssl_proxy": list(ssl_proxy),
        "host_regex": r"[\w.-]+",
        # Not here: users' servers, and what needs their files.
        **dict.fromkeys(("pun_uri", "nginx_uri", "public_uri", "logout_uri", "use_maintenance"), False),
    }
    generator = place / "ood-portal-generator"
    template = generator / "templates" / "ood-portal.conf.erb"
    argv = ["ruby", "-ryaml", "-I", str(generator / "lib"), "-e", _GENERATE, str(template)]
    done = subprocess.run(argv, input=yaml.safe_dump(settings), check=True, capture_output=True, text=True)
    return done.stdout, _MODULES
