//! Where a request to the signer goes.

use crate::{origin, two_lines};
use jwt_core::audience::Audience;
use signer_native::proxy::testing::{connect, target, target_inside};

/// Two lines: the target of a proxy request, and a `Host`. The server that is called, the one in
/// the token and the one that browsers would call are one.
pub fn signer_target(data: &[u8]) {
    let Some((uri, host)) = two_lines(data) else {
        return;
    };
    if let Some(target) = target(uri) {
        is_one_server(uri, &target.scheme, &target);
        assert!(!target.host_header.contains('@'), "user information");
    }
    if let Some((connected, port)) = connect(uri) {
        let browsers = origin(&format!("http://{uri}/"));
        is_host(&connected, browsers.and_then(|(_, host, _)| host));
        assert!(port > 0);
    }
    // What is inside the tunnel is for the host of the CONNECT.
    if let Some(inside) = target_inside(uri, host) {
        let (connected, port) = connect(uri).expect("a tunnel has a target");
        assert_eq!((inside.host, inside.port), (connected, port));
        let audience = format!("https://{uri}/");
        assert!(Audience::new(audience).matches(&inside.audience));
    }
}

fn is_one_server(uri: &str, scheme: &str, target: &signer_native::proxy::testing::Server) {
    let Some((browsers_scheme, host, port)) = origin(uri) else {
        return;
    };
    assert_eq!(scheme, browsers_scheme);
    assert_eq!(Some(target.port), port);
    is_host(&target.host, host);
    assert!(Audience::new(uri).matches(&target.audience));
}

fn is_host(called: &str, browsers: Option<String>) {
    let Some(browsers) = browsers else { return };
    let bare = browsers.trim_matches(['[', ']']);
    let address = bare
        .parse()
        .map(|address: std::net::IpAddr| address.to_canonical().to_string());
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    assert_eq!(called, address.unwrap_or_else(|_| bare.to_owned()));
}
