//! Where a request carries its token.

use filter_wasm::credentials::{Stripped, strip, strip_unverified, token};
use filter_wasm::request::RequestHead;
use jwt_core::refusal::Refusal;

const MAX_SIZE: usize = 64;

/// Lines: values of `Authorization` where they begin with a space, of `Cookie` else. There is one
/// token at most, and none goes further.
pub fn credentials(data: &[u8]) {
    let mut head = Head::of(data);
    let before = head.clone();
    for cookies_enabled in [true, false] {
        let found = token(&head, cookies_enabled, MAX_SIZE);
        if let Ok(token) = &found {
            assert!(token.len() <= MAX_SIZE);
        }
    }
    head.apply(strip(&head, true));
    let left = token(&head, true, usize::MAX);
    assert!(left.is_err(), "{left:?}");
    for (name, value) in pairs(&head) {
        assert!(name != b"access_token" || value.is_empty(), "a cookie left");
    }
    let others = |head: &Head| {
        let others = pairs(head)
            .into_iter()
            .filter(|(name, _)| !could_be_taken_for_ours(name));
        others.collect::<Vec<_>>()
    };
    assert_eq!(others(&head), others(&before), "others stay");
    if token(&before, true, usize::MAX) == Err(Refusal::MissingToken) {
        assert_eq!(head.get("authorization"), before.get("authorization"));
    }
    let mut head = before;
    head.apply(strip_unverified(&head, true));
    assert!(head.get("authorization").is_none());
}

/// Whether some server may read this name as `access_token`. What is told apart by another letter or
/// digit is another cookie.
fn could_be_taken_for_ours(name: &[u8]) -> bool {
    let name: Vec<u8> = percent_encoding::percent_decode(name).collect();
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    letters
        .map(u8::to_ascii_lowercase)
        .eq(b"accesstoken".iter().copied())
}

/// As servers read them (RFC 6265 §5.2 is about browsers, but they do the same): white space around
/// names and values does not count.
fn pairs(head: &Head) -> Vec<(Vec<u8>, Vec<u8>)> {
    let values = head.get_all("cookie");
    let pairs = values
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b';'));
    let pairs = pairs
        .filter(|pair| !pair.trim_ascii().is_empty())
        .map(|pair| {
            let end = pair
                .iter()
                .position(|byte| *byte == b'=')
                .unwrap_or(pair.len());
            let value = pair.get(end + 1..).unwrap_or_default();
            (
                pair[..end].trim_ascii().to_vec(),
                value.trim_ascii().to_vec(),
            )
        });
    pairs.collect()
}

#[derive(Clone)]
struct Head(Vec<(&'static str, Vec<u8>)>);

impl Head {
    fn of(data: &[u8]) -> Self {
        let lines = data.split(|byte| *byte == b'\n');
        let fields = lines.map(|line| match line.strip_prefix(b" ") {
            Some(value) => ("authorization", value.to_vec()),
            None => ("cookie", line.to_vec()),
        });
        Self(fields.collect())
    }

    fn apply(&mut self, stripped: Vec<Stripped>) {
        for Stripped { name, value } in stripped {
            self.0.retain(|(own, _)| *own != name);
            self.0.extend(value.map(|value| (name, value)));
        }
    }
}

impl RequestHead for Head {
    /// As Envoy joins them.
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let all = self.get_all(name);
        (!all.is_empty()).then(|| all.join(b",".as_slice()))
    }

    fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
        let fields = self.0.iter().filter(|(own, _)| *own == name);
        fields.map(|(_, value)| value.clone()).collect()
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn size(&self) -> usize {
        0
    }
}
