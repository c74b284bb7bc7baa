//! Where a request carries its token.

use jwt_core::refusal::Refusal;

/// The token in the value of an Authorization header (RFC 6750 §2.1). The scheme's name is
/// case-insensitive (RFC 9110 §11.1).
///
/// Envoy hands over two Authorization headers as one value with a comma between. A comma is in
/// no token, so these are malformed: which of two tokens counts is nothing to guess about.
pub fn bearer_token(authorization: Option<&[u8]>) -> Result<&str, Refusal> {
    let value = authorization.ok_or(Refusal::MissingToken)?;
    let value = str::from_utf8(value)
        .map_err(|_| Refusal::Malformed("the Authorization header is not text"))?;
    let (scheme, token) = value.trim().split_once(' ').ok_or(Refusal::MissingToken)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(Refusal::MissingToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_follows_the_scheme() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c "] {
            assert_eq!(bearer_token(Some(value.as_bytes())), Ok("a.b.c"));
        }
    }

    #[test]
    fn anything_else_is_no_token() {
        assert_eq!(bearer_token(None), Err(Refusal::MissingToken));
        for value in ["", "Bearer", "Basic dXNlcjpwYXNz", "a.b.c"] {
            assert_eq!(
                bearer_token(Some(value.as_bytes())),
                Err(Refusal::MissingToken),
                "{value}"
            );
        }
        assert!(matches!(
            bearer_token(Some(b"Bearer \xff")),
            Err(Refusal::Malformed(_))
        ));
    }
}
