"""The paths under which the portal's proxies reach what listens on a port of this session."""

from ood_runtime.context import Context


def node(context: Context, port: str) -> str:
    """Below which all that the port called ``port`` serves is found; the proxy passes on the whole path."""
    portal = context.settings.portal
    return _below(portal.secure_node_uri if context.tls else portal.node_uri, context, port)


def rnode(context: Context, port: str) -> str:
    """The same where the proxy takes this path away."""
    portal = context.settings.portal
    return _below(portal.secure_rnode_uri if context.tls else portal.rnode_uri, context, port)


def _below(uri: str, context: Context, port: str) -> str:
    return f"{uri}/{context.place.host}/{context.grant.ports[port]}"
