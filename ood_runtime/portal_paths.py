"""The paths under which the portal's proxies reach what listens on a port of this session."""

from ood_runtime.context import Context


def node(context: Context, port: str) -> str:
    """Below which all that the port called ``port`` serves is found; the proxy passes on the whole path."""
    return f"{context.settings.portal.node_uri}/{context.place.host}/{context.grant.ports[port]}"


def rnode(context: Context, port: str) -> str:
    """The same where the proxy takes this path away."""
    return f"{context.settings.portal.rnode_uri}/{context.place.host}/{context.grant.ports[port]}"
