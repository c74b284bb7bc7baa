//! Lines of any bytes, of which only a bounded beginning is kept.

use std::io::{BufRead as _, BufReader, ErrorKind, Read};

/// How much of a line is kept.
pub(super) const MAX_LINE: usize = 8 * 1024;

/// The lines that can be read from `R`.
pub(super) struct Lines<R>(BufReader<R>);

/// One of them, without its newline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    /// How many bytes of it were not kept.
    pub(super) left_out: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self(BufReader::new(input))
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let mut line = Line {
            bytes: Vec::new(),
            left_out: 0,
        };
        let mut begun = false;
        loop {
            let read = match self.0.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Nothing more will come.
                Err(_) => &[],
            };
            if read.is_empty() {
                return begun.then_some(line);
            }
            begun = true;
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = end.and_then(|end| read.get(..end)).unwrap_or(read);
            line.push(part);
            let used = part.len() + usize::from(end.is_some());
            self.0.consume(used);
            if end.is_some() {
                return Some(line);
            }
        }
    }
}

impl Line {
    fn push(&mut self, part: &[u8]) {
        let room = MAX_LINE - self.bytes.len();
        let (kept, rest) = part.split_at(room.min(part.len()));
        self.bytes.extend_from_slice(kept);
        self.left_out += rest.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Cursor, repeat};

    #[test]
    fn lines_may_hold_any_bytes_and_the_last_needs_no_end() {
        let input = b"one\n\n\xff\0\r\nlast";
        let lines: Vec<_> = Lines::new(&input[..]).map(|line| line.bytes).collect();
        assert_eq!(lines, [&b"one"[..], b"", b"\xff\0\r", b"last"]);
        assert_eq!(Lines::new(&b""[..]).count(), 0);
    }

    #[test]
    fn of_an_endless_line_only_its_beginning_is_kept() {
        let endless = repeat(b'a').take(50_000_000);
        let mut lines = Lines::new(endless.chain(Cursor::new(b"\nnext")));
        let line = lines.next().unwrap();
        assert_eq!(line.bytes.len(), MAX_LINE);
        assert!(line.bytes.capacity() <= 2 * MAX_LINE);
        assert_eq!(line.left_out, 50_000_000 - MAX_LINE as u64);
        assert_eq!(lines.next().unwrap().bytes, b"next");
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn an_interrupted_read_is_repeated_and_a_failed_one_is_the_end() {
        struct Input(Vec<io::Result<&'static [u8]>>);
        impl Read for Input {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let mut next = self.0.remove(0)?;
                next.read(into)
            }
        }
        let input = Input(vec![
            Ok(b"on"),
            Err(ErrorKind::Interrupted.into()),
            Ok(b"e\ntw"),
            Err(ErrorKind::BrokenPipe.into()),
            Err(ErrorKind::BrokenPipe.into()),
        ]);
        let lines: Vec<_> = Lines::new(input).map(|line| line.bytes).collect();
        assert_eq!(lines, [&b"one"[..], b"tw"]);
    }
}
