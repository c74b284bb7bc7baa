//! Key registries: nothing that is for one of them is signed.
//!
//! A token of the service has the authority to publish and delete its keys, so a client of the
//! signer that got one for the registry could become the service.

use super::host::Host;
use http::Uri;
use jwt_core::authority::HostAndPort;

/// The key registries that this process knows.
#[derive(Clone, Debug, Default)]
pub struct Registries(Vec<RegistryOrigin>);

/// Where a registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryOrigin {
    text: String,
    /// As written, for the resolver: a name with the root's dot is looked up as it is.
    lookup_name: String,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl RegistryOrigin {
    /// Of the URL of a registry; its path does not matter.
    pub fn parse(url: &str) -> Option<Self> {
        let (host, port) = place(url)?;
        let scheme = url.split(':').next()?;
        let shown_host = match host.address() {
            Some(address) if address.is_ipv6() => format!("[{host}]"),
            _ => host.to_string(),
        };
        Some(Self {
            text: format!("{scheme}://{shown_host}:{}", port?),
            lookup_name: url.parse::<Uri>().ok()?.host()?.to_owned(),
            host,
            port: port?,
        })
    }

    /// For messages.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// What to look up.
    pub(crate) fn lookup_name(&self) -> &str {
        &self.lookup_name
    }

    /// Whether that host and port are those of the registry, with whatever scheme: a proxy in
    /// front of it may take both.
    fn is_at(&self, host: &Host, port: Option<u16>) -> bool {
        port.is_none_or(|port| self.has_port(port)) && host.is_same_place(&self.host)
    }

    /// The ports of `http` and `https` are mostly one server.
    pub(crate) fn has_port(&self, port: u16) -> bool {
        const USUAL: [u16; 2] = [80, 443];
        port == self.port || USUAL.contains(&port) && USUAL.contains(&self.port)
    }
}

impl Registries {
    /// Adds one that is not there yet.
    pub fn add(&mut self, registry: RegistryOrigin) {
        if !self.0.contains(&registry) {
            self.0.push(registry);
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RegistryOrigin> {
        self.0.iter()
    }

    /// The registry that is at this host and port, as they are written.
    pub(crate) fn at(&self, host: &Host, port: u16) -> Option<&RegistryOrigin> {
        self.iter().find(|known| known.is_at(host, Some(port)))
    }

    /// The registry that could take this `aud` for its own.
    pub(crate) fn of_audience(&self, audience: &str) -> Option<&RegistryOrigin> {
        if self.0.is_empty() {
            return None;
        }
        let (host, port) = place(audience)?;
        self.iter().find(|known| known.is_at(&host, port))
    }
}

/// The host of a URL, and its port if there is one.
fn place(url: &str) -> Option<(Host, Option<u16>)> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let default = match uri.scheme_str() {
        Some("http" | "ws") => Some(80),
        Some("https" | "wss") => Some(443),
        _ => None,
    };
    // Without user information, which decides about nothing.
    let text = authority.as_str();
    let text = text.rsplit_once('@').map_or(text, |(_, text)| text);
    // A port that only some read, such as `:+80`, may be any.
    let strict = HostAndPort::parse(text);
    let port = strict.and_then(|strict| strict.port().or(default));
    Some((Host::parse(authority.host())?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(url: &str) -> Registries {
        let mut registries = Registries::default();
        registries.add(RegistryOrigin::parse(url).unwrap());
        registries
    }

    #[test]
    fn an_audience_is_compared_by_host_and_port() {
        let registries = known("http://127.0.0.1:8888/");
        for audience in [
            "http://127.0.0.1:8888",
            "http://127.0.0.1:8888/path?query",
            "HTTP://LOCALHOST:8888",
            "https://localhost.:8888",
            "http://user@127.0.0.1:8888/",
            "http://[::1]:8888",
            "http://[::ffff:7f00:1]:8888",
            "http://127.8.8.8:8888",
            "http://0.0.0.0:8888",
            "http://[::]:8888",
            "ws://localhost:8888",
            "other://localhost:8888",
            "other://localhost",
            "http://localhost:+8888",
            "http://localhost:+9999",
        ] {
            assert!(registries.of_audience(audience).is_some(), "{audience}");
        }
        for audience in [
            "http://127.0.0.1:8889",
            "http://127.0.0.1",
            "http://127.0.0.1.test:8888",
            "http://127.0.0.1:8888@a.test",
            "billing",
            "",
        ] {
            assert!(registries.of_audience(audience).is_none(), "{audience}");
        }
    }

    #[test]
    fn the_default_port_may_be_left_out_and_the_scheme_be_another() {
        for url in ["https://Keys.Example.", "http://keys.example:80/base/"] {
            let registries = known(url);
            for audience in [
                "https://keys.example",
                "https://KEYS.example:443/",
                "http://keys.example",
                "http://keys.example.:80",
                "wss://keys.example",
            ] {
                assert!(registries.of_audience(audience).is_some(), "{audience}");
            }
            assert!(
                registries
                    .of_audience("https://keys.example:8443")
                    .is_none()
            );
            assert!(registries.of_audience("https://a.keys.example").is_none());
        }
    }

    #[test]
    fn a_registry_is_shown_by_its_origin() {
        let shown = |url| RegistryOrigin::parse(url).unwrap().text;
        assert_eq!(shown("https://Keys.test/base"), "https://keys.test:443");
        assert_eq!(shown("http://[::1]:8888"), "http://[::1]:8888");
        for wrong in [
            "http://keys.test:+80",
            "keys.test",
            "/path",
            "http://a b",
            "other://keys.test",
        ] {
            assert!(RegistryOrigin::parse(wrong).is_none(), "{wrong}");
        }
    }
}
