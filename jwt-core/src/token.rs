//! A token as it arrives: taken apart, typed, and not yet believed.

use crate::algorithm::Algorithm;
use crate::key::KeyName;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A well-formed compact JWS with the header and the claims every token must have. Nothing of it
/// is verified.
#[derive(Clone, Debug)]
pub struct Token {
    signing_input: String,
    signature: Vec<u8>,
    payload: Vec<u8>,
    algorithm: Algorithm,
    key_name: KeyName,
    claims: Claims,
}

/// The registered claims (RFC 7519 §4.1), all required here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// One or more audiences.
    pub audiences: Vec<String>,
    /// `exp`.
    pub expires: Timestamp,
    /// `nbf`.
    pub not_before: Timestamp,
    /// `iat`.
    pub issued: Timestamp,
    /// `jti`.
    pub token_id: String,
}

impl Token {
    /// Takes a compact serialization (RFC 7515 §7.1) apart.
    pub fn parse(compact: &str) -> Result<Self, Refusal> {
        let malformed = || Refusal::Malformed("expected three parts between dots");
        let (signing_input, signature) = compact.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(malformed)?;
        if payload.contains('.') {
            return Err(malformed());
        }
        let (algorithm, key_id) = parse_header(&decode(header)?)?;
        let payload = decode(payload)?;
        let (issuer, claims) = parse_claims(&payload)?;
        Ok(Self {
            signing_input: signing_input.to_owned(),
            signature: decode(signature)?,
            algorithm,
            key_name: KeyName::new(issuer, key_id)?,
            claims,
            payload,
        })
    }

    /// What the signature covers (RFC 7515 §5.1).
    pub fn signing_input(&self) -> &[u8] {
        self.signing_input.as_bytes()
    }

    /// The signature, decoded.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The claims as the JSON text that was signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// `alg`.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `iss` and `kid`: the key that is said to have signed.
    pub fn key_name(&self) -> &KeyName {
        &self.key_name
    }

    /// The registered claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

fn decode(segment: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| Refusal::Malformed("a part is not base64url without padding"))
}

/// The header parameters we look at. `jwk`, `jku`, `x5u` and `x5c` are not among them: a key
/// that comes with the token proves nothing (RFC 8725 §3.10).
#[derive(Deserialize)]
struct RawHeader<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    alg: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    kid: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    crit: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    b64: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawClaims<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    iss: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    aud: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    exp: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    nbf: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    iat: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    jti: Option<&'a RawValue>,
}

/// Keeps a `null` apart from an absent member.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn parse_header(json: &[u8]) -> Result<(Algorithm, String), Refusal> {
    let header: RawHeader<'_> =
        object(json).ok_or(Refusal::Malformed("the header is not a JSON object"))?;
    // RFC 7515 §4.1.11: a critical extension that is not understood makes the JWS invalid. We
    // understand none. RFC 7797 §6: `b64` has to be critical, so on its own it is a mistake.
    if header.crit.is_some() || header.b64.is_some_and(|b64| b64.get() != "true") {
        return Err(Refusal::Critical);
    }
    let name = string(header.alg, "alg")?;
    let algorithm = Algorithm::from_name(&name).ok_or(Refusal::Algorithm)?;
    Ok((algorithm, string(header.kid, "kid")?))
}

fn parse_claims(json: &[u8]) -> Result<(String, Claims), Refusal> {
    let raw: RawClaims<'_> =
        object(json).ok_or(Refusal::Malformed("the claims are not a JSON object"))?;
    let claims = Claims {
        audiences: audiences(raw.aud)?,
        expires: numeric_date(raw.exp, "exp")?,
        not_before: numeric_date(raw.nbf, "nbf")?,
        issued: numeric_date(raw.iat, "iat")?,
        token_id: string(raw.jti, "jti")?,
    };
    Ok((string(raw.iss, "iss")?, claims))
}

/// A JSON object and nothing else: serde would take an array of the members' values too.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    json.trim_ascii_start()
        .starts_with(b"{")
        .then(|| serde_json::from_slice(json).ok())?
}

fn string(value: Option<&RawValue>, name: &'static str) -> Result<String, Refusal> {
    let text: String = typed(value, name, "a string")?;
    if text.is_empty() {
        Err(Refusal::Missing(name))
    } else {
        Ok(text)
    }
}

/// RFC 7519 §4.1.3: an array of strings, or one string.
fn audiences(value: Option<&RawValue>) -> Result<Vec<String>, Refusal> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    match typed(value, "aud", "a string or a list of strings")? {
        OneOrMany::One(audience) => Ok(vec![audience]),
        OneOrMany::Many(audiences) => Ok(audiences),
    }
}

/// RFC 7519 §2, NumericDate: seconds since the epoch, fractions permitted.
fn numeric_date(value: Option<&RawValue>, name: &'static str) -> Result<Timestamp, Refusal> {
    const EXPECTED: &str = "a date in seconds since 1970";
    let number: serde_json::Number = typed(value, name, EXPECTED)?;
    let date = match number.as_i64() {
        Some(seconds) => Timestamp::from_seconds(seconds),
        None => number.as_f64().and_then(Timestamp::from_fractional_seconds),
    };
    date.ok_or(Refusal::WrongType {
        name,
        expected: EXPECTED,
    })
}

fn typed<'a, T: Deserialize<'a>>(
    value: Option<&'a RawValue>,
    name: &'static str,
    expected: &'static str,
) -> Result<T, Refusal> {
    let value = value.ok_or(Refusal::Missing(name))?;
    serde_json::from_str(value.get()).map_err(|_| Refusal::WrongType { name, expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn compact(header: &Value, claims: &Value) -> String {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        format!(
            "{}.{}.{}",
            encode(header),
            encode(claims),
            URL_SAFE_NO_PAD.encode("signature")
        )
    }

    fn header() -> Value {
        json!({"alg": "RS256", "kid": "k1", "typ": "JWT"})
    }

    fn claims() -> Value {
        json!({"iss": "svc", "aud": "https://api", "exp": 200, "nbf": 100, "iat": 100.5, "jti": "n"})
    }

    /// Parses a token after setting `part[name]`, or removing it when `value` is `None`.
    fn with(part: &str, name: &str, value: Option<Value>) -> Result<Token, Refusal> {
        let (mut header, mut claims) = (header(), claims());
        let target = if part == "header" {
            &mut header
        } else {
            &mut claims
        };
        match value {
            Some(value) => target[name] = value,
            None => drop(target.as_object_mut().unwrap().remove(name)),
        }
        Token::parse(&compact(&header, &claims))
    }

    #[test]
    fn a_whole_token_is_taken_apart() {
        let text = compact(&header(), &claims());
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.algorithm(), Algorithm::Rs256);
        assert_eq!(
            token.key_name(),
            &KeyName::new("svc".into(), "k1".into()).unwrap()
        );
        assert_eq!(token.claims().audiences, ["https://api"]);
        assert_eq!(
            token.claims().issued,
            Timestamp::from_fractional_seconds(100.5).unwrap()
        );
        assert_eq!(token.signature(), b"signature");
        assert!(text.as_bytes().starts_with(token.signing_input()));
    }

    #[test]
    fn what_is_not_three_base64url_parts_of_json_is_malformed() {
        let good = compact(&header(), &claims());
        let array = URL_SAFE_NO_PAD.encode("[]");
        for text in [
            String::new(),
            ".".into(),
            "..".into(),
            "a.b".into(),
            "a.b.c.d".into(),
            format!("{good}="),
            format!("{good}.x"),
            good.replace('.', ".\u{e9}"),
            format!("{array}.{array}.{array}"),
        ] {
            assert!(
                matches!(Token::parse(&text), Err(Refusal::Malformed(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn each_required_member_is_required() {
        for (part, name) in [
            ("header", "alg"),
            ("header", "kid"),
            ("claims", "iss"),
            ("claims", "aud"),
            ("claims", "exp"),
            ("claims", "nbf"),
            ("claims", "iat"),
            ("claims", "jti"),
        ] {
            assert_eq!(with(part, name, None).unwrap_err(), Refusal::Missing(name));
            let wrong = with(part, name, Some(json!({"an": "object"}))).unwrap_err();
            assert!(
                matches!(wrong, Refusal::WrongType { name: n, .. } if n == name),
                "{wrong:?}"
            );
            let null = with(part, name, Some(Value::Null)).unwrap_err();
            assert!(
                matches!(null, Refusal::WrongType { name: n, .. } if n == name),
                "{null:?}"
            );
        }
    }

    #[test]
    fn dates_must_be_finite_and_in_range() {
        for wrong in [
            json!("200"),
            json!(1e300),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(-1e300),
        ] {
            let refusal = with("claims", "exp", Some(wrong.clone())).unwrap_err();
            assert!(
                matches!(refusal, Refusal::WrongType { name: "exp", .. }),
                "{wrong}"
            );
        }
        assert!(with("claims", "exp", Some(json!(200.25))).is_ok());
        let overflow = compact(&header(), &claims())
            .split('.')
            .next()
            .unwrap()
            .to_owned()
            + "."
            + &URL_SAFE_NO_PAD.encode(claims().to_string().replace("200", "1e999"))
            + ".c2ln";
        assert!(Token::parse(&overflow).is_err());
    }

    #[test]
    fn an_audience_is_a_string_or_a_list_of_strings() {
        let token = with("claims", "aud", Some(json!(["a", "b"]))).unwrap();
        assert_eq!(token.claims().audiences, ["a", "b"]);
        assert!(with("claims", "aud", Some(json!(["a", 1]))).is_err());
    }

    #[test]
    fn a_member_named_twice_is_malformed() {
        let twice = claims().to_string().replacen('{', "{\"iss\":\"other\",", 1);
        let text = format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(header().to_string()),
            URL_SAFE_NO_PAD.encode(twice)
        );
        assert!(matches!(Token::parse(&text), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn neither_none_nor_hmac_nor_an_unknown_algorithm_is_taken() {
        for alg in [
            "none", "None", "NONE", "HS256", "HS512", "rs256", "RS257", " RS256",
        ] {
            let refusal = with("header", "alg", Some(json!(alg))).unwrap_err();
            assert_eq!(refusal, Refusal::Algorithm, "{alg}");
        }
    }

    #[test]
    fn critical_extensions_are_refused_and_embedded_keys_ignored() {
        for crit in [json!(["b64"]), json!([]), json!(null), json!(["exp"])] {
            assert_eq!(
                with("header", "crit", Some(crit)).unwrap_err(),
                Refusal::Critical
            );
        }
        assert_eq!(
            with("header", "b64", Some(json!(false))).unwrap_err(),
            Refusal::Critical
        );
        for name in ["jwk", "jku", "x5u", "x5c"] {
            assert!(with("header", name, Some(json!("https://evil.example"))).is_ok());
        }
    }
}
