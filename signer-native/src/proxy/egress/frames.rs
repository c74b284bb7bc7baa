//! Frames of HTTP/2 as they pass (RFC 9113 §4.1), as far as they say what a server has processed.

/// Finds frames in one direction of a connection, however its bytes are cut.
#[derive(Debug)]
pub(super) struct Frames {
    /// What passes before the first frame, or of a frame that is of no interest.
    skip: usize,
    /// The beginning of the next frame.
    head: [u8; HEAD + LAST_STREAM_ID],
    filled: usize,
}

/// A frame that says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The header section of a request or a response.
    Headers(u32),
    /// No stream above this one was or will be processed.
    GoAway(u32),
}

const HEAD: usize = 9;
const LAST_STREAM_ID: usize = 4;
const HEADERS: u8 = 1;
const GO_AWAY: u8 = 7;

impl Frames {
    /// Those of a side that sends so many bytes before the first one.
    pub(super) fn after(preface: usize) -> Self {
        Self {
            skip: preface,
            head: [0; HEAD + LAST_STREAM_ID],
            filled: 0,
        }
    }

    /// Takes the bytes that follow those it took before.
    pub(super) fn advance(&mut self, mut bytes: &[u8], mut found: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let needed = self.needed();
            let taken = (needed - self.filled).min(bytes.len());
            let end = self.filled + taken;
            if let (Some(to), Some(from)) =
                (self.head.get_mut(self.filled..end), bytes.get(..taken))
            {
                to.copy_from_slice(from);
            }
            self.filled = end;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.filled == self.needed() {
                if let Some(frame) = self.frame() {
                    found(frame);
                }
                self.skip = self.length().saturating_sub(self.filled - HEAD);
                self.filled = 0;
            }
        }
    }

    /// How many bytes of the current frame are to be read.
    fn needed(&self) -> usize {
        let go_away = self.filled >= HEAD && self.kind() == GO_AWAY;
        if go_away && self.length() >= LAST_STREAM_ID {
            HEAD + LAST_STREAM_ID
        } else {
            HEAD
        }
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.head;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn kind(&self) -> u8 {
        let [_, _, _, kind, ..] = self.head;
        kind
    }

    fn frame(&self) -> Option<Frame> {
        let [_, _, _, kind, _, a, b, c, d, e, f, g, h] = self.head;
        // The first bit of either is reserved.
        let of = |bytes| u32::from_be_bytes(bytes) & (u32::MAX >> 1);
        match kind {
            HEADERS => Some(Frame::Headers(of([a, b, c, d]))),
            GO_AWAY if self.filled > HEAD => Some(Frame::GoAway(of([e, f, g, h]))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let sent = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, &[0; 12]),
            frame(HEADERS, 1, b"\x82\x86"),
            frame(0, 1, &[HEADERS; 300]),
            frame(GO_AWAY, 0, &[0x80, 0, 0, 5, 0, 0, 0, 0, b'b', b'y', b'e']),
            frame(GO_AWAY, 0, &[]),
            frame(HEADERS, 7, b""),
        ]
        .concat();
        for size in [1, 2, 13, 1000] {
            let mut frames = Frames::after(24);
            let mut found = Vec::new();
            for piece in sent.chunks(size) {
                frames.advance(piece, |frame| found.push(frame));
            }
            let expected = [Frame::Headers(1), Frame::GoAway(5), Frame::Headers(7)];
            assert_eq!(found, expected, "{size}");
        }
    }
}
