//! jwtproxy: the signing forward proxy and the command that runs it all.
