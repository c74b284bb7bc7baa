//! Paths that need no token.

use crate::two_lines;
use jwt_core::excludes::{Exclude, is_excluded};
use percent_encoding::percent_decode_str;
use url::Url;

/// Two lines: an entry of `excludes` and a path. An exempt path has the same segments for every
/// server, however often it decodes them.
pub fn excludes(data: &[u8]) {
    let Some((entry, path)) = two_lines(data) else {
        return;
    };
    let everything = Exclude::parse("(?s).*").expect("a regular expression");
    let is_normal = is_excluded(&[everything], path);
    if let Ok(entry) = Exclude::parse(entry) {
        assert!(is_normal || !is_excluded(&[entry], path), "not normal");
    }
    if is_normal {
        has_one_reading(path.split('?').next().unwrap());
    }
}

fn has_one_reading(path: &str) {
    let browsers = Url::parse(&format!("http://host{path}")).expect("a URL");
    assert_eq!(browsers.host_str(), Some("host"));
    assert_eq!((browsers.query(), browsers.fragment()), (None, None));
    let once = segments(path, 1);
    assert_eq!(segments(browsers.path(), 1), once);
    assert_eq!(segments(path, 2), once);
    for segment in &once[..once.len() - 1] {
        assert!(!segment.is_empty(), "two slashes");
    }
    for segment in once {
        assert!(!segment.contains(['/', '\\', '\0', ';', '?', '#', '%']));
        assert!(!segment.chars().any(char::is_control));
        let steps = segment.trim_matches(['.', ' ']);
        assert!(segment.is_empty() || !steps.is_empty(), "a step");
    }
}

/// Decoded so many times before the path is taken apart.
fn segments(path: &str, times: u8) -> Vec<String> {
    let mut path = path.to_owned();
    for _ in 0..times {
        path = percent_decode_str(&path)
            .decode_utf8()
            .expect("text")
            .into_owned();
    }
    let path = path.strip_prefix('/').expect("a slash");
    path.split('/').map(str::to_owned).collect()
}
