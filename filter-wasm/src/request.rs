//! What the gate wants to know of a request.

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

/// The URL of the request, as far as it is known.
pub(crate) fn url(head: &dyn RequestHead) -> String {
    let part = |name| text(head, name).unwrap_or_default();
    format!(
        "{}://{}{}",
        part(":scheme"),
        part(":authority"),
        part(":path")
    )
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
