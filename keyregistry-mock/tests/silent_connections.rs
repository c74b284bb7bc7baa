//! Clients that connect and do not ask: the registry answers the others meanwhile.

#![expect(
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

mod process;

use process::Process;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use transport::descriptors::DescriptorLimit;

/// More than the process has file descriptors for.
const CLIENTS: usize = 1_100;

/// Clients that are connected; one crowd at a time, since this process needs a descriptor for each
/// of them as well.
struct Crowd {
    clients: Vec<TcpStream>,
    _turn: MutexGuard<'static, ()>,
}

/// Connects so many clients, each of which sends this and nothing more.
fn crowd(process: &Process, bytes: &[u8]) -> Crowd {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = DescriptorLimit::raise().descriptors();
    assert!(
        limit > 2 * 1_100,
        "the hard limit of descriptors is {limit}"
    );
    let connect = |_| {
        let mut client = TcpStream::connect(&process.address).unwrap();
        // The registry may have disconnected it already.
        let _ = client.write_all(bytes);
        client
    };
    Crowd {
        clients: (0..CLIENTS).map(connect).collect(),
        _turn: turn,
    }
}

fn assert_answers(process: &Process) {
    for path in ["/healthz", "/services/svc/keys"] {
        let answer = process.get(path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn a_thousand_silent_sockets_do_not_stall_the_registry() {
    for (soft, hard) in [(256, 1024), (1024, 4096)] {
        let process = Process::start_with_descriptors(soft, hard, &[]);
        let silent = crowd(&process, b"");
        assert_answers(&process);
        drop(silent);
        assert_answers(&process);
    }
}

#[test]
fn a_thousand_heads_that_are_half_sent_do_not_stall_the_registry() {
    let process = Process::start_with_descriptors(256, 1024, &[]);
    let _half = crowd(&process, b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: ");
    assert_answers(&process);
}

#[test]
fn a_thousand_heads_that_drip_do_not_stall_the_registry() {
    let process = Process::start_with_descriptors(256, 1024, &[]);
    let mut dripping = crowd(&process, b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: ");
    for _ in 0..3 {
        for client in &mut dripping.clients {
            let _ = client.write_all(b"x");
        }
        assert_answers(&process);
        thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_thousand_clients_that_asked_once_and_stay_do_not_stall_the_registry() {
    let process = Process::start_with_descriptors(256, 1024, &[]);
    let _idle = crowd(&process, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_answers(&process);
}

#[test]
fn a_thousand_bodies_that_do_not_come_do_not_stall_the_registry() {
    let process = Process::start_with_descriptors(256, 1024, &[]);
    let head = b"PUT /services/svc/keys/k HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n";
    let _waiting = crowd(&process, head);
    assert_answers(&process);
}

#[test]
fn silent_sockets_at_the_admin_listener_do_not_stall_it() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a-token-that-cannot-be-guessed").unwrap();
    let args = ["--admin-listen", "127.0.0.1:0", "--admin-token-file"];
    let process = Process::start(&[&args[..], &[token.to_str().unwrap()]].concat());
    let connect = |_| TcpStream::connect(process.admin.as_ref().unwrap()).unwrap();
    let _silent: Vec<_> = (0..200).map(connect).collect();
    let authorization = "Bearer a-token-that-cannot-be-guessed";
    let answer = process.exchange_with_admin("GET", "/keys", authorization);
    assert!(answer.unwrap().starts_with("HTTP/1.1 200 "));
}
