//! Where a request carries its token.

use crate::request::RequestHead;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jwt_core::refusal::Refusal;

/// The user name with which a token may stand as the password of Basic authentication, for
/// clients that know nothing else.
const BASIC_USER: &str = "oauth2";

/// The cookie that may carry a token.
const COOKIE: &str = "access_token";

/// The one token of a request: in the Authorization header, or else in a cookie where that is
/// enabled. One of more than `max_size` bytes is refused before it is decoded or copied.
pub fn token(
    head: &dyn RequestHead,
    cookies_enabled: bool,
    max_size: usize,
) -> Result<String, Refusal> {
    if let Some(token) = in_header(head, max_size)? {
        return Ok(token);
    }
    if !cookies_enabled {
        return Err(Refusal::MissingToken);
    }
    let cookies = head.get_all("cookie");
    let cookies = || cookies.iter().flat_map(|value| in_cookies(value));
    let ours = cookies().find(|cookie| cookie.name == COOKIE.as_bytes());
    let token = ours.ok_or(Refusal::MissingToken)?.text()?;
    let token = bounded(token, max_size)?;
    for cookie in cookies() {
        if cookie.text()? != token {
            return Err(Refusal::SeveralTokens);
        }
    }
    Ok(token.to_owned())
}

fn in_header(head: &dyn RequestHead, max_size: usize) -> Result<Option<String>, Refusal> {
    match head.get("authorization") {
        Some(value) => in_authorization(&value, max_size),
        None => Ok(None),
    }
}

/// A field that had the token in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stripped {
    /// Its name.
    pub name: &'static str,
    /// What is left of it, if anything.
    pub value: Option<Vec<u8>>,
}

/// The fields that carry the token, without it; other credentials stay.
pub fn strip(head: &dyn RequestHead, cookies_enabled: bool) -> Vec<Stripped> {
    let mut stripped = Vec::new();
    if has_token_in_header(head) {
        stripped.push(Stripped {
            name: "authorization",
            value: None,
        });
    }
    if cookies_enabled {
        stripped.extend(strip_cookie(head));
    }
    stripped
}

/// The cookie of a request whose token is in the Authorization header.
pub fn strip_beside(head: &dyn RequestHead) -> Option<Stripped> {
    has_token_in_header(head).then(|| strip_cookie(head))?
}

fn has_token_in_header(head: &dyn RequestHead) -> bool {
    matches!(in_header(head, usize::MAX), Ok(Some(_)))
}

fn strip_cookie(head: &dyn RequestHead) -> Option<Stripped> {
    let cookies = head.get_all("cookie");
    let pairs = cookies
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii);
    let (ours, others): (Vec<_>, Vec<_>) = pairs.partition(|pair| resembles_ours(name_of(pair)));
    let others: Vec<_> = others.into_iter().filter(|it| !it.is_empty()).collect();
    (!ours.is_empty()).then(|| Stripped {
        name: "cookie",
        value: (!others.is_empty()).then(|| others.join(b"; ".as_slice())),
    })
}

/// The same for credentials that are not looked at: nothing stays of an Authorization, whatever is
/// in it.
pub fn strip_unverified(head: &dyn RequestHead, cookies_enabled: bool) -> Vec<Stripped> {
    let authorization = head.get("authorization").map(|_| Stripped {
        name: "authorization",
        value: None,
    });
    let others = strip(head, cookies_enabled).into_iter();
    let others = others.filter(|field| field.name != "authorization");
    authorization.into_iter().chain(others).collect()
}

/// RFC 6750 §2.1, or Basic authentication (RFC 7617). The scheme's name is case-insensitive
/// (RFC 9110 §11.1). Other schemes are somebody else's.
///
/// Two Authorization headers come as one value with a comma between. A comma is in no token.
fn in_authorization(value: &[u8], max_size: usize) -> Result<Option<String>, Refusal> {
    let malformed = || Refusal::Malformed("the Authorization header is not text");
    let value = str::from_utf8(value).map_err(|_| malformed())?.trim();
    if value.contains(',') {
        return Err(Refusal::SeveralTokens);
    }
    // RFC 9110 §11.4 says spaces; some split at a tab as well.
    let Some((scheme, credentials)) = value.split_once([' ', '\t']) else {
        return Ok(None);
    };
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        let token = Some(credentials).filter(|token| !token.is_empty());
        let token = token.map(|token| bounded(token, max_size)).transpose()?;
        return Ok(token.map(str::to_owned));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        // Three bytes are four characters. Other users' passwords are none of our business,
        // whatever their size; what is too large for a token is not decoded to find out.
        let largest = max_size.saturating_add(BASIC_USER.len() + 1).div_ceil(3);
        bounded(credentials, largest.saturating_mul(4))?;
        return Ok(in_basic(credentials));
    }
    Ok(None)
}

fn bounded(token: &str, max_size: usize) -> Result<&str, Refusal> {
    if token.len() > max_size {
        return Err(Refusal::TooLarge);
    }
    Ok(token)
}

fn in_basic(credentials: &str) -> Option<String> {
    let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    (user == BASIC_USER).then(|| password.to_owned())
}

/// A cookie that is the one with the token to the upstream, at least.
struct Cookie<'a> {
    name: &'a [u8],
    token: &'a [u8],
}

impl<'a> Cookie<'a> {
    fn text(&self) -> Result<&'a str, Refusal> {
        let malformed = || Refusal::Malformed("the cookie access_token is not text");
        str::from_utf8(self.token).map_err(|_| malformed())
    }
}

/// RFC 6265 §4.2.1, and what servers take for the same: many ignore white space around names and
/// values, some the case of names, some decode names, and PHP makes underscores of other characters. What the upstream
/// would take for a token must be one here.
fn in_cookies(value: &[u8]) -> Vec<Cookie<'_>> {
    let pairs = value.split(|byte| *byte == b';').filter_map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(end)?;
        let value = value.strip_prefix(b"=")?;
        Some((name.trim_ascii(), value.trim_ascii()))
    });
    pairs
        .filter(|(name, value)| resembles_ours(name) && !value.is_empty())
        .map(|(name, value)| Cookie {
            name,
            token: without_quotes(value),
        })
        .collect()
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default()
}

fn resembles_ours(name: &[u8]) -> bool {
    let name: Vec<u8> = percent_encoding::percent_decode(name).collect();
    let plain = |byte: &u8| match byte {
        b' ' | b'.' | b'[' | b'+' => b'_',
        other => other.to_ascii_lowercase(),
    };
    without_quotes(name.trim_ascii())
        .iter()
        .map(plain)
        .eq(COOKIE.bytes())
}

fn without_quotes(mut value: &[u8]) -> &[u8] {
    while let Some(rest) = value.strip_prefix(b"\"") {
        value = rest;
    }
    while let Some(rest) = value.strip_suffix(b"\"") {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::in_memory::Fields;

    const MAX_SIZE: usize = 100;

    fn with(fields: &[(&str, &str)]) -> Result<String, Refusal> {
        token(&Fields::of(fields), true, MAX_SIZE)
    }

    fn in_field(value: &str) -> Result<String, Refusal> {
        with(&[("authorization", value)])
    }

    #[test]
    fn the_token_follows_the_scheme() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c "] {
            assert_eq!(in_field(value).unwrap(), "a.b.c");
        }
        let basic = format!("Basic {}", STANDARD.encode("oauth2:a.b.c"));
        assert_eq!(in_field(&basic).unwrap(), "a.b.c");
    }

    #[test]
    fn anything_else_is_no_token() {
        let other_user = format!("Basic {}", STANDARD.encode("user:a.b.c"));
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Basic !",
            "Digest x",
            "a.b.c",
            &other_user,
        ] {
            assert_eq!(in_field(value), Err(Refusal::MissingToken), "{value}");
        }
        let bytes = Fields(vec![("authorization".into(), b"Bearer \xff".to_vec())]);
        assert!(matches!(
            token(&bytes, true, MAX_SIZE),
            Err(Refusal::Malformed(_))
        ));
    }

    #[test]
    fn a_cookie_counts_where_it_is_enabled() {
        let cookie = [("cookie", "a=b; access_token=a.b.c; c=d")];
        assert_eq!(with(&cookie).unwrap(), "a.b.c");
        assert_eq!(
            token(&Fields::of(&cookie), false, MAX_SIZE),
            Err(Refusal::MissingToken)
        );
        let other = [("cookie", "xaccess_token=a.b.c; access_token=; access_token")];
        assert_eq!(with(&other), Err(Refusal::MissingToken));
    }

    #[test]
    fn an_upstream_finds_no_token_in_a_cookie_that_is_not_found_here() {
        for cookie in [
            "access_token =d.e.f",
            "a=b;\taccess_token\t= d.e.f",
            "access_token = \"d.e.f\"",
        ] {
            let fields = [("cookie", cookie)];
            assert_eq!(with(&fields).unwrap(), "d.e.f", "{cookie:?}");
            let stripped = strip(&Fields::of(&fields), true);
            let left = stripped[0].value.clone().unwrap_or_default();
            assert!(
                !left.windows(12).any(|it| it == b"access_token"),
                "{left:?}"
            );
            let fields = [("cookie", "access_token=a.b.c"), ("cookie", cookie)];
            assert_eq!(with(&fields), Err(Refusal::SeveralTokens), "{cookie:?}");
        }
        let odd = b"access_token=a.b.c; access_token=\xff".to_vec();
        let odd = Fields(vec![("cookie".into(), odd)]);
        assert!(matches!(
            token(&odd, true, MAX_SIZE),
            Err(Refusal::Malformed(_))
        ));
        let stripped = strip(&odd, true);
        assert_eq!((stripped[0].name, &stripped[0].value), ("cookie", &None));
    }

    #[test]
    fn two_different_tokens_are_refused_and_two_equal_ones_are_one() {
        for fields in [
            [
                ("cookie", "access_token=a.b.c; access_token=d.e.f"),
                ("x", ""),
            ],
            [
                ("cookie", "access_token=a.b.c"),
                ("cookie", "access_token=d.e.f"),
            ],
            [("authorization", "Bearer a.b.c,Bearer d.e.f"), ("x", "")],
        ] {
            assert_eq!(with(&fields), Err(Refusal::SeveralTokens), "{fields:?}");
        }
        let equal = [("cookie", "access_token=a.b.c"); 2];
        assert_eq!(with(&equal).unwrap(), "a.b.c");
    }

    #[test]
    fn beside_an_authorization_no_cookie_is_looked_at() {
        let large = format!("access_token={}", "x".repeat(MAX_SIZE + 1));
        for cookie in ["access_token=stale", "access_token=a.b.c", "=", &large] {
            let fields = [("authorization", "Bearer a.b.c"), ("cookie", cookie)];
            assert_eq!(with(&fields).unwrap(), "a.b.c", "{cookie}");
        }
        // One that carries no token leaves it to the cookie.
        let fields = [
            ("authorization", "Basic eDp5"),
            ("cookie", "access_token=a.b.c"),
        ];
        assert_eq!(with(&fields).unwrap(), "a.b.c");
    }

    #[test]
    fn a_cookie_beside_a_good_authorization_does_not_go_on() {
        let beside = |cookies: &[&str]| {
            let mut fields = vec![("authorization", "Bearer a.b.c")];
            fields.extend(cookies.iter().map(|cookie| ("cookie", *cookie)));
            strip_beside(&Fields::of(&fields)).map(|stripped| stripped.value)
        };
        for name in [
            "access_token",
            "access_token ",
            "Access_Token",
            "access%5Ftoken",
            "access%5ftoken",
            "\"access_token\"",
            "access.token",
            "access token",
        ] {
            let cookie = format!("a=b; {name}=x; c=d");
            assert_eq!(
                beside(&[&cookie]),
                Some(Some(b"a=b; c=d".to_vec())),
                "{name}"
            );
            assert_eq!(beside(&[&format!("{name}=")]), Some(None), "{name}");
        }
        assert_eq!(
            beside(&["a=b", "access_token=x"]),
            Some(Some(b"a=b".to_vec()))
        );
        assert_eq!(beside(&["a=b; xaccess_token=x"]), None);
        assert_eq!(beside(&[]), None);
        // Here the cookie is what has been verified.
        let only = Fields::of(&[("cookie", "access_token=a.b.c")]);
        assert_eq!(strip_beside(&only), None);
    }

    #[test]
    fn no_second_token_rides_along_with_a_verified_cookie() {
        for name in [
            "access_token ",
            "access_token\t",
            "Access_Token",
            "access.token",
            "access token",
            "access[token",
        ] {
            for order in [true, false] {
                let (good, other) = ("access_token=a.b.c", format!("{name}=d.e.f"));
                let cookie = match order {
                    true => format!("{good}; {other}"),
                    false => format!("{other}; {good}"),
                };
                let fields = [("cookie", cookie.as_str())];
                assert_eq!(with(&fields), Err(Refusal::SeveralTokens), "{cookie}");
            }
            let alone = format!("{name}=d.e.f");
            let found = with(&[("cookie", &alone)]);
            let is_ours = name.trim_end() == "access_token";
            let expected = match is_ours {
                true => Ok("d.e.f".to_owned()),
                false => Err(Refusal::MissingToken),
            };
            assert_eq!(found, expected, "{name}");
            let stripped = strip(&Fields::of(&[("cookie", &alone)]), true);
            assert_eq!(stripped.len(), 1, "{name}");
            let unverified = strip_unverified(&Fields::of(&[("cookie", &alone)]), true);
            assert_eq!(unverified.len(), 1, "{name}");
        }
        for value in ["Bearer\td.e.f", "bearer \td.e.f"] {
            let fields = [("authorization", value), ("cookie", "access_token=a.b.c")];
            assert_eq!(with(&fields).unwrap(), "d.e.f", "{value}");
        }
        let others = [(
            "cookie",
            "access_tokens=1; my_access_token=2; access_token=a.b.c",
        )];
        assert_eq!(with(&others).unwrap(), "a.b.c");
    }

    #[test]
    fn a_token_that_is_too_large_is_refused_wherever_it_is() {
        let (largest, larger) = ("x".repeat(MAX_SIZE), "x".repeat(MAX_SIZE + 1));
        for carrier in [
            |token: &str| ("authorization", format!("Bearer {token}")),
            |token: &str| ("cookie", format!("a=b; access_token={token}")),
        ] {
            let of = |token| {
                let (name, value) = carrier(token);
                with(&[(name, &value)])
            };
            assert_eq!(of(&largest).as_ref(), Ok(&largest));
            assert_eq!(of(&larger), Err(Refusal::TooLarge));
        }
        let basic = |token: &str| STANDARD.encode(format!("oauth2:{token}"));
        let basic = |token: &str| in_field(&format!("Basic {}", basic(token)));
        assert_eq!(basic(&largest), Ok(largest));
        assert_eq!(basic(&"x".repeat(MAX_SIZE + 3)), Err(Refusal::TooLarge));
        // What is not decoded is not looked at either.
        assert_eq!(
            in_field(&format!("Basic {}", "!".repeat(200))),
            Err(Refusal::TooLarge)
        );
    }

    #[test]
    fn the_token_is_taken_out_and_nothing_else() {
        let head = Fields::of(&[
            ("authorization", "Bearer a.b.c"),
            ("cookie", "a=b; access_token=a.b.c;c=d"),
            ("cookie", "e=f"),
        ]);
        let stripped = |name, value: &str| {
            let value = (!value.is_empty()).then(|| value.as_bytes().to_vec());
            Stripped { name, value }
        };
        assert_eq!(
            strip(&head, true),
            [
                stripped("authorization", ""),
                stripped("cookie", "a=b; c=d; e=f")
            ]
        );
        assert_eq!(strip(&head, false), [stripped("authorization", "")]);
        let only = Fields::of(&[
            ("authorization", "Basic eDp5"),
            ("cookie", "access_token=t"),
        ]);
        assert_eq!(strip(&only, true), [stripped("cookie", "")]);
    }

    #[test]
    fn nothing_unverified_stays() {
        for value in [
            "Bearer a.b.c",
            "Bearer a.b.c,Bearer d.e.f",
            "Bearer\ta.b.c",
            "Basic eDp5",
            "x",
        ] {
            let head = Fields::of(&[
                ("authorization", value),
                ("cookie", "a=b; access_token=a.b.c"),
            ]);
            let stripped = |name, value: Option<&str>| Stripped {
                name,
                value: value.map(|value| value.as_bytes().to_vec()),
            };
            let authorization = stripped("authorization", None);
            let without_cookies = strip_unverified(&head, false);
            assert_eq!(without_cookies, std::slice::from_ref(&authorization));
            let cookie = stripped("cookie", Some("a=b"));
            assert_eq!(strip_unverified(&head, true), [authorization, cookie]);
        }
        assert!(strip_unverified(&Fields::default(), true).is_empty());
    }
}
