//! What the gate wants to know of a request.

use jwt_core::authority::HostAndPort;
use jwt_core::config::verifier::Access;

/// The header section of a request; names are in lower case, pseudo-header fields included. Any
/// of them may be absent, `:path` too, and no value need be text.
pub trait RequestHead {
    /// The value of a field. Envoy joins the lines of some fields, Authorization among them, with
    /// a comma; of others it gives the first.
    fn get(&self, name: &str) -> Option<Vec<u8>>;

    /// The value of each line of a field.
    fn get_all(&self, name: &str) -> Vec<Vec<u8>>;

    /// The name of each line.
    fn names(&self) -> Vec<String>;

    /// What the host holds in memory while the request waits, in bytes.
    fn size(&self) -> usize;
}

/// A field that is text.
pub(crate) fn text(head: &dyn RequestHead, name: &str) -> Option<String> {
    String::from_utf8(head.get(name)?).ok()
}

/// Whether a browser asks beforehand if it may send a request (Fetch standard, "CORS-preflight
/// request").
pub(crate) fn is_cors_preflight(head: &dyn RequestHead) -> bool {
    head.get(":method")
        .is_some_and(|method| method == b"OPTIONS")
        && head.get("access-control-request-method").is_some()
}

/// Whether the connection is to become something else, a WebSocket for example.
pub(crate) fn is_upgrade(head: &dyn RequestHead) -> bool {
    head.get("upgrade").is_some() || head.get(":protocol").is_some()
}

/// The URL that the client asked for, as far as it is known: what the proxies in front say of it
/// counts if they are trusted, and what one of them has taken off the path is put before it.
pub(crate) fn url(head: &dyn RequestHead, access: &Access) -> String {
    let part = |name| text(head, name).unwrap_or_default();
    let hops = usize::try_from(access.trusted_hops).unwrap_or(usize::MAX);
    // Without trusted proxies, what Envoy itself has written.
    let scheme = nth_last(head, "x-forwarded-proto", hops.max(1))
        .filter(|scheme| ["http", "https"].contains(&scheme.as_str()));
    let host = nth_last(head, "x-forwarded-host", hops);
    let host = host.filter(|host| HostAndPort::parse(host).is_some());
    format!(
        "{}://{}{}{}",
        scheme.unwrap_or_else(|| part(":scheme")),
        host.unwrap_or_else(|| part(":authority")),
        access.public_base_path.as_deref().unwrap_or_default(),
        part(":path")
    )
}

/// What the n-th proxy before us has written into a field to which each appends, or has
/// overwritten if there is less in it; nothing where `n` is 0.
fn nth_last(head: &dyn RequestHead, name: &str, n: usize) -> Option<String> {
    if n == 0 {
        return None;
    }
    let lines = head.get_all(name);
    let texts = lines.iter().filter_map(|line| str::from_utf8(line).ok());
    let values: Vec<_> = texts.flat_map(|text| text.split(',')).collect();
    let value = values.get(values.len().saturating_sub(n))?;
    Some(value.trim().to_owned())
}

/// A request in memory, for tests.
#[cfg(test)]
pub(crate) mod in_memory {
    use super::RequestHead;

    #[derive(Clone, Default)]
    pub(crate) struct Fields(pub(crate) Vec<(String, Vec<u8>)>);

    impl Fields {
        pub(crate) fn of(fields: &[(&str, &str)]) -> Self {
            let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
            Self(fields.iter().map(owned).collect())
        }
    }

    impl RequestHead for Fields {
        fn get(&self, name: &str) -> Option<Vec<u8>> {
            self.get_all(name).into_iter().next()
        }

        fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
            let fields = self.0.iter().filter(|(own, _)| own == name);
            fields.map(|(_, value)| value.clone()).collect()
        }

        fn names(&self) -> Vec<String> {
            self.0.iter().map(|(name, _)| name.clone()).collect()
        }

        fn size(&self) -> usize {
            self.0.iter().map(|(n, v)| n.len() + v.len()).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::in_memory::Fields;
    use super::*;

    const REQUEST: [(&str, &str); 3] = [
        (":scheme", "http"),
        (":authority", "inside:8081"),
        (":path", "/a?b"),
    ];

    fn url_of(trusted_hops: u32, public_base_path: Option<&str>, more: &[(&str, &str)]) -> String {
        let access = Access {
            trusted_hops,
            public_base_path: public_base_path.map(str::to_owned),
            ..Access::default()
        };
        url(&Fields::of(&[&REQUEST, more].concat()), &access)
    }

    #[test]
    fn what_trusted_proxies_say_counts() {
        let said = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "app.example"),
        ];
        assert_eq!(url_of(1, None, &said), "https://app.example/a?b");
        assert_eq!(url_of(2, None, &said), "https://app.example/a?b");
        // The scheme is that of Envoy's own, which overwrites what is not trusted.
        assert_eq!(url_of(0, None, &said), "https://inside:8081/a?b");
        assert_eq!(url_of(0, None, &[]), "http://inside:8081/a?b");
        assert_eq!(url_of(1, None, &[]), "http://inside:8081/a?b");
    }

    #[test]
    fn of_a_list_each_proxy_has_written_the_last() {
        let said = [
            ("x-forwarded-host", "evil.example, app.example"),
            ("x-forwarded-host", "ingress.example"),
        ];
        assert_eq!(url_of(1, None, &said), "http://ingress.example/a?b");
        assert_eq!(url_of(2, None, &said), "http://app.example/a?b");
    }

    #[test]
    fn what_is_no_host_and_no_scheme_is_not_taken() {
        for host in ["", "a b", "evil.example/x", "a@b", "x:y", "?"] {
            let said = [
                ("x-forwarded-host", host),
                ("x-forwarded-proto", "javascript"),
            ];
            assert_eq!(url_of(1, None, &said), "http://inside:8081/a?b", "{host}");
        }
    }

    #[test]
    fn the_base_path_precedes_the_path() {
        let url = url_of(0, Some("/app"), &[]);
        assert_eq!(url, "http://inside:8081/app/a?b");
    }
}
