//! The header section of a request, as far as it says where the request ends.

use super::request_line;
use crate::proxy::error::Malformed;

/// What a header section says about where its message ends, and about what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framing {
    pub(super) body: Body,
    /// The client asks for another protocol on this connection.
    pub(super) asks_to_switch: bool,
}

/// Where the message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// Looks for the end of a header section in bytes as they come: it takes each byte once, so that a
/// client that sends them one by one does not make the proxy read the beginning again and again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    place: Place,
    length: usize,
}

/// How far a [`Scan`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Not the end.
    NotYet,
    /// The header section has this length, with the empty lines that may stand before it (RFC 9112
    /// §2.2) and the one that ends it.
    End(usize),
    /// A line does not end with CRLF, or has a CR, LF or NUL in it. Without this a client that ends
    /// its lines with LF alone would wait for ever.
    BadLine,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// Before the request line.
    #[default]
    Before,
    BeforeLineFeed,
    Line,
    LineFeed,
    /// At the beginning of a line after the first one.
    NextLine,
    LastLineFeed,
}

impl Scan {
    /// How many bytes it has taken.
    pub(super) fn length(self) -> usize {
        self.length
    }

    /// Takes the bytes that follow those it took before.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Found {
        for byte in bytes {
            self.length += 1;
            self.place = match (self.place, byte) {
                (Place::Before, b'\r') => Place::BeforeLineFeed,
                (Place::BeforeLineFeed, b'\n') => Place::Before,
                (Place::Line, b'\r') => Place::LineFeed,
                (Place::LineFeed, b'\n') => Place::NextLine,
                (Place::NextLine, b'\r') => Place::LastLineFeed,
                (Place::LastLineFeed, b'\n') => return Found::End(self.length),
                (Place::BeforeLineFeed | Place::LineFeed | Place::LastLineFeed, _)
                | (_, b'\n' | 0) => return Found::BadLine,
                _ => Place::Line,
            };
        }
        Found::NotYet
    }
}

/// The header section in the bytes that the HTTP library takes, where they are others.
pub(super) fn encoded(head: &[u8]) -> Option<Vec<u8>> {
    let before = blank(head);
    let line = Lines(head.get(before..)).next()?;
    let encoded = request_line::encoded(line)?;
    let after = head.get(before + line.len()..)?;
    Some([head.get(..before)?, &encoded, after].concat())
}

/// Reads a header section with all that stands before and after it.
pub(super) fn framing(head: &[u8]) -> Result<Framing, Malformed> {
    let section = head.get(blank(head)..).unwrap_or_default();
    let section = section.strip_suffix(b"\r\n\r\n").unwrap_or(section);
    let mut lines = Lines(Some(section));
    let request_line = lines.next().unwrap_or_default();
    if has_control(request_line) {
        return Err(Malformed::LineEnd);
    }
    let mut fields = Fields::default();
    for line in lines {
        fields.read(line)?;
    }
    let connect = request_line.starts_with(b"CONNECT ");
    let http2 = request_line.starts_with(b"PRI * HTTP/2");
    if !http2 {
        request_line::check(request_line)?;
    }
    if connect || http2 {
        fields.upgrade = true;
    }
    match fields.framing()? {
        // RFC 9110 §9.3.6: "A CONNECT request message does not have content". Others take it for
        // the first bytes of the tunnel.
        Framing { body, .. } if connect && body != Body::Length(0) => Err(Malformed::Connect),
        framing => Ok(framing),
    }
}

/// The fields that matter here.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Fields {
    fn read(&mut self, line: &[u8]) -> Result<(), Malformed> {
        if has_control(line) {
            return Err(Malformed::LineEnd);
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Malformed::Fold);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or(Malformed::Name)?);
        if name.is_empty() || !name.iter().all(is_token) {
            return Err(Malformed::Name);
        }
        let value = without_ows(value.strip_prefix(b":").unwrap_or(value));
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = digits(value).ok_or(Malformed::Lengths)?;
            if self.length.replace(length).is_some() {
                return Err(Malformed::Lengths);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::TransferCoding);
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        }
        // RFC 9110 §5.5.
        if (value.iter()).any(|byte| *byte != b'\t' && byte.is_ascii_control()) {
            return Err(Malformed::Value);
        }
        Ok(())
    }

    fn framing(self) -> Result<Framing, Malformed> {
        let body = match (self.length, self.chunked) {
            (Some(_), true) => return Err(Malformed::BothLengths),
            (None, true) => Body::Chunked,
            (length, false) => Body::Length(length.unwrap_or(0)),
        };
        Ok(Framing {
            body,
            asks_to_switch: self.upgrade,
        })
    }
}

/// RFC 9112 §6.2: `1*DIGIT`. No sign, no list.
fn digits(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(value).ok()?.parse().ok()
}

/// RFC 9110 §5.6.3: spaces and tabs, nothing else.
fn without_ows(value: &[u8]) -> &[u8] {
    let is_ows = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(first) = value.iter().position(|byte| !is_ows(byte)) else {
        return &[];
    };
    let last = value.iter().rposition(|byte| !is_ows(byte));
    value.get(first..=last.unwrap_or(first)).unwrap_or_default()
}

/// The bytes of empty lines.
fn blank(input: &[u8]) -> usize {
    let lines = input.chunks(2).take_while(|two| two == b"\r\n");
    lines.count() * 2
}

/// What stands between lines that end with CRLF.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let end = rest.windows(2).position(|two| two == b"\r\n");
        let (line, after) = match end {
            Some(end) => (rest.get(..end)?, rest.get(end + 2..)),
            None => (rest, None),
        };
        self.0 = after;
        Some(line)
    }
}

fn has_control(line: &[u8]) -> bool {
    line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &str) -> Result<Framing, Malformed> {
        framing(format!("POST / HTTP/1.1\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn one_length_or_chunks_are_understood() {
        for (fields, body, asks_to_switch) in [
            ("Host: a\r\n", Body::Length(0), false),
            ("content-LENGTH:  12\t\r\n", Body::Length(12), false),
            ("Transfer-Encoding: chunked\r\n", Body::Chunked, false),
            ("Upgrade: x\r\nContent-Length: 1\r\n", Body::Length(1), true),
            (
                "upgrade:\r\nTransfer-Encoding: chunked\r\n",
                Body::Chunked,
                true,
            ),
        ] {
            let framing = Framing {
                body,
                asks_to_switch,
            };
            assert_eq!(of(fields), Ok(framing), "{fields:?}");
        }
    }

    #[test]
    fn a_connect_with_content_is_refused() {
        let of = |fields| framing(format!("CONNECT a:1 HTTP/1.1\r\n{fields}\r\n").as_bytes());
        for fields in ["", "Content-Length: 0\r\n"] {
            assert!(of(fields).unwrap().asks_to_switch);
        }
        for fields in ["Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n"] {
            assert_eq!(of(fields), Err(Malformed::Connect), "{fields}");
        }
    }

    #[test]
    fn every_shape_with_two_readings_is_refused() {
        for (fields, problem) in [
            (
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                Malformed::BothLengths,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
                Malformed::BothLengths,
            ),
            (
                "Content-Length: 1\r\nContent-Length: 1\r\n",
                Malformed::Lengths,
            ),
            ("Content-Length: 1, 1\r\n", Malformed::Lengths),
            ("Content-Length: +1\r\n", Malformed::Lengths),
            ("Content-Length: \r\n", Malformed::Lengths),
            (
                "Content-Length: 99999999999999999999\r\n",
                Malformed::Lengths,
            ),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                Malformed::TransferCoding,
            ),
            (
                "Transfer-Encoding: chunked, identity\r\n",
                Malformed::TransferCoding,
            ),
            ("Transfer-Encoding: xchunked\r\n", Malformed::TransferCoding),
            (
                "Transfer-Encoding: \x0cchunked\r\n",
                Malformed::TransferCoding,
            ),
            (
                "Transfer-Encoding: \"chunked\"\r\n",
                Malformed::TransferCoding,
            ),
            (
                "Transfer-Encoding: chunked\x0b\r\n",
                Malformed::TransferCoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Malformed::TransferCoding,
            ),
            ("X: 1\r\n folded\r\n", Malformed::Fold),
            ("X: 1\r\n\tContent-Length: 1\r\n", Malformed::Fold),
            ("Content-Length : 1\r\n", Malformed::Name),
            (" X: 1\r\n", Malformed::Fold),
            ("no colon\r\n", Malformed::Name),
            (": no name\r\n", Malformed::Name),
            ("X\0: 1\r\n", Malformed::LineEnd),
            ("X: 1\nContent-Length: 1\r\n", Malformed::LineEnd),
            ("X: 1\rContent-Length: 1\r\n", Malformed::LineEnd),
        ] {
            assert_eq!(of(fields), Err(problem), "{fields:?}");
        }
    }

    #[test]
    fn bad_line_ends_are_found_before_the_end() {
        for head in [
            &b"GET / HTTP/1.1\n"[..],
            b"\n",
            b"\r\r",
            b"GET / HTTP/1.1\rX",
            b"GET / HTTP/1.1\r\n\n",
            b"GET / HTTP/1.1\r\n\rX",
            b"GET / HTTP/1.1\r\nX: \0",
            b"\x16\x03\x01\0",
        ] {
            assert_eq!(Scan::default().advance(head), Found::BadLine, "{head:?}");
        }
        let begun = b"\r\nGET / HTTP/1.1\r\nHost";
        assert_eq!(Scan::default().advance(begun), Found::NotYet);
    }

    #[test]
    fn a_header_section_ends_with_an_empty_line() {
        for (head, found) in [
            (&b"\r\n\r\nGET / HTTP/1.1\r\n\r\nrest"[..], Found::End(22)),
            (b"GET / HTTP/1.1\r\nX: 1\r\n\r\n\r\n", Found::End(24)),
            (b"GET / HTTP/1.1\r\n\r", Found::NotYet),
            (b"\r\n\r\n", Found::NotYet),
        ] {
            assert_eq!(Scan::default().advance(head), found);
            let mut scan = Scan::default();
            let pieces = head.chunks(1).map(|byte| scan.advance(byte));
            let in_pieces = pieces.last().filter(|_| found == Found::NotYet);
            assert!(in_pieces.is_none_or(|last| last == found));
        }
    }
}
