//! Where a chunked body ends (RFC 9112 §7.1).

/// Where in a chunked body we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunked(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the digits of a size, so many of them read.
    Size(u64, u8),
    Extension(u64),
    SizeLineFeed(u64),
    Data(u64),
    DataReturn,
    DataLineFeed,
    /// At the beginning of a line of the trailer section.
    Trailer,
    TrailerLine,
    TrailerLineFeed,
    LastLineFeed,
}

impl Default for Place {
    fn default() -> Self {
        Self::Size(0, 0)
    }
}

/// Whether the body has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    NotYet,
    Complete,
    Malformed,
}

/// Far more than anyone can send.
const MOST_DIGITS: u8 = 15;

impl Chunked {
    /// Goes over bytes: how many of them belong to the body. After malformed ones that are all.
    pub(super) fn advance(&mut self, input: &[u8]) -> (usize, End) {
        let mut at = 0;
        while let Some(byte) = input.get(at) {
            if let Place::Data(left) = self.0 {
                let here = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(input.len() - at);
                at += here;
                let left = left - here as u64;
                self.0 = if left == 0 {
                    Place::DataReturn
                } else {
                    Place::Data(left)
                };
                continue;
            }
            at += 1;
            if self.0 == Place::LastLineFeed && *byte == b'\n' {
                return (at, End::Complete);
            }
            match self.0.after(*byte) {
                Some(place) => self.0 = place,
                None => return (input.len(), End::Malformed),
            }
        }
        (at, End::NotYet)
    }
}

impl Place {
    /// The place after one byte that is no data.
    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Size(size, digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = u64::from((byte as char).to_digit(16)?);
                (digits < MOST_DIGITS).then(|| Self::Size(size * 16 + digit, digits + 1))
            }
            (Self::Size(_, 0), _) => None,
            (Self::Size(size, _) | Self::Extension(size), b'\r') => Some(Self::SizeLineFeed(size)),
            (Self::Size(size, _), b';' | b' ' | b'\t') => Some(Self::Extension(size)),
            (Self::Extension(_) | Self::TrailerLine, b'\n') => None,
            (Self::Extension(size), _) => Some(Self::Extension(size)),
            (Self::SizeLineFeed(0), b'\n') => Some(Self::Trailer),
            (Self::SizeLineFeed(size), b'\n') => Some(Self::Data(size)),
            (Self::DataReturn, b'\r') => Some(Self::DataLineFeed),
            (Self::DataLineFeed, b'\n') => Some(Self::default()),
            (Self::Trailer, b'\r') => Some(Self::LastLineFeed),
            (Self::Trailer, b'\n') => None,
            (Self::TrailerLine, b'\r') => Some(Self::TrailerLineFeed),
            (Self::Trailer | Self::TrailerLine, _) => Some(Self::TrailerLine),
            (Self::TrailerLineFeed, b'\n') => Some(Self::Trailer),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_with_its_trailer_section() {
        for body in [
            &b"0\r\n\r\n"[..],
            b"3\r\na\r\n\r\n0\r\n\r\n",
            b"A;name=value\r\n0123456789\r\n000\r\nX: 1\r\nY: 2\r\n\r\n",
        ] {
            let both = [body, b"GET /"].concat();
            let mut chunked = Chunked::default();
            assert_eq!(chunked.advance(&both), (body.len(), End::Complete));
        }
    }

    #[test]
    fn what_is_no_chunked_body_is_noticed() {
        for body in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"0x1\r\n",
            b"1\nab",
            b"1\r\nabc",
            b"1;\n",
            b"0\r\nX: 1\n",
            b"0\r\n\n",
            b"1000000000000000\r\n",
        ] {
            let (_, end) = Chunked::default().advance(body);
            assert_eq!(end, End::Malformed, "{body:?}");
        }
    }
}
