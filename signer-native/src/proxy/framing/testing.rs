//! Where the messages of a connection end, without a connection.

use super::{State, StrictFraming};

/// What becomes of a client's bytes.
#[derive(Debug)]
pub struct Messages {
    /// What hyper gets of them.
    pub passed: Vec<u8>,
    /// Where in it each whole message ends.
    pub ends: Vec<usize>,
    /// Whether the client is heard no more, because of what it sent.
    pub is_refused: bool,
}

/// Takes bytes that arrive in pieces of this length. Behind a message that asks for another protocol
/// it takes no more.
pub fn messages(sent: &[u8], piece: usize, max_head: usize) -> Messages {
    let mut framing = StrictFraming::new((), max_head);
    let mut messages = Messages {
        passed: Vec::new(),
        ends: Vec::new(),
        is_refused: false,
    };
    for piece in sent.chunks(piece.max(1)) {
        framing.input.extend_from_slice(piece);
        while messages.take_next(&mut framing) {}
    }
    messages
}

impl Messages {
    /// Whether there may be more.
    fn take_next(&mut self, framing: &mut StrictFraming<()>) -> bool {
        let before = framing.input.len();
        framing.advance();
        if matches!(framing.state, State::Refused | State::Lost) {
            self.is_refused = true;
            return false;
        }
        self.passed.append(&mut framing.output);
        let has_ended = match framing.state {
            State::Head(scan) => scan.length() == 0,
            State::Held => true,
            _ => false,
        };
        let was_taken = framing.input.len() < before;
        if has_ended && was_taken {
            self.ends.push(self.passed.len());
        }
        was_taken
    }
}
