//! The places of requests that wait, and their order.

use super::super::waiting::{MAX_BYTES, MAX_WAITING};
use super::*;

/// Lets requests that name this key wait, from that stream on, until one is refused; gives their
/// number.
fn fill(gate: &mut Gate, kid: &str, first: StreamId, filling: usize) -> usize {
    let token = format!("Bearer {}", with_kid(kid, "n"));
    let head = Fields::of(&[("authorization", &token), ("x", &"x".repeat(filling))]);
    let limit = 2 * MAX_WAITING as StreamId;
    for stream in first..first + limit {
        match gate.on_request(stream, &head, now()) {
            Decision::Wait => {}
            decision => {
                assert_eq!(refusal(decision), Refusal::TooManyWaiting);
                return (stream - first) as usize;
            }
        }
    }
    panic!("there is no bound");
}

#[test]
fn no_key_takes_all_places() {
    let mut gate = worker_with_many_clients();
    let alone = fill(&mut gate, "a", 0, 0);
    assert!((4000..=MAX_WAITING / 2).contains(&alone), "{alone}");
    // As many unknown keys of one issuer as can be asked for at once, each as greedy as it can be.
    let others: Vec<_> = (1..43)
        .map(|n| fill(&mut gate, &format!("other-{n}"), n * 100_000, 0))
        .collect();
    assert!(others.iter().all(|taken| *taken >= 20), "{others:?}");
    let all = alone + others.iter().sum::<usize>();
    assert!(all <= MAX_WAITING * 9 / 10, "{all}");
    assert_eq!(answer(&mut gate, &id("a"), 404, "", now()).len(), alone);
    // What one key gives back, others may take.
    assert!(fill(&mut gate, "other-1", 8_000_000, 0) > 500);
}

#[test]
fn what_the_host_holds_for_waiting_requests_is_bounded() {
    let mut gate = worker_with_many_clients();
    let large = 60 << 10;
    let taken = fill(&mut gate, "a", 0, large);
    assert!((400..=MAX_BYTES / 2 / large).contains(&taken), "{taken}");
    let others: Vec<_> = (1..43)
        .map(|n| fill(&mut gate, &format!("other-{n}"), n * 100_000, large))
        .collect();
    assert!(others.iter().all(|taken| *taken >= 2), "{others:?}");
    let all = taken + others.iter().sum::<usize>();
    assert!(all * large < MAX_BYTES, "{all}");
}

#[test]
fn places_that_are_given_back_can_be_taken_again_however_often() {
    let mut gate = worker(&Rc::default());
    let all = fill(&mut gate, "a", 0, 1000) as StreamId;
    for round in 1..=5 {
        for stream in 0..all {
            gate.on_stream_end((round - 1) * 1_000_000 + stream);
        }
        assert_eq!(fill(&mut gate, "a", round * 1_000_000, 1000), all as usize);
    }
    let decided = answer(&mut gate, &id("a"), 404, "", now());
    assert_eq!(decided.len(), all as usize);
    assert_eq!(fill(&mut gate, "b", 9_000_000, 1000), all as usize);
}

#[test]
fn a_request_that_ends_gives_its_place_back() {
    let mut gate = worker(&Rc::default());
    let all = fill(&mut gate, "a", 0, 0) as StreamId;
    let next = |gate: &mut Gate, stream| request(gate, stream, &with_kid("a", "n"), now());
    gate.on_stream_end(0);
    gate.on_stream_end(0);
    assert_waits(&next(&mut gate, all + 1));
    assert_eq!(refusal(next(&mut gate, all + 2)), Refusal::TooManyWaiting);
    // The refused one has no place to give back.
    gate.on_stream_end(all + 2);
    assert_eq!(refusal(next(&mut gate, all + 3)), Refusal::TooManyWaiting);
    for stream in 1..=all + 1 {
        gate.on_stream_end(stream);
    }
    assert!(answer(&mut gate, &id("a"), 404, "", now()).is_empty());
    assert!(!gate.has_ready());
    assert_eq!(fill(&mut gate, "b", 900_000, 0), all as usize);
}

#[test]
fn a_request_that_ends_between_the_answer_and_its_turn_is_forgotten() {
    let mut gate = worker(&Rc::default());
    for stream in 1..=4 {
        assert_waits(&request(&mut gate, stream, &token(1), now()));
    }
    gate.on_response(&key_id(), jwk_response(&jwk()), now());
    gate.on_stream_end(1);
    gate.on_stream_end(3);
    // Its nonce is not claimed: another request has the same token.
    let decisions = gate.decide(now());
    let streams: Vec<_> = decisions.iter().map(|(stream, _)| *stream).collect();
    assert_eq!(streams, [2, 4]);
    assert_accepted(&decisions[0].1);
    assert_eq!(
        refusal(decisions.into_iter().nth(1).unwrap().1),
        Refusal::Replayed
    );
    assert!(!gate.has_ready());
}

#[test]
fn keys_take_turns_and_the_oldest_request_of_a_key_comes_first() {
    let mut gate = worker(&Rc::default());
    for stream in [10, 11, 12, 13] {
        assert_waits(&request(&mut gate, stream, &with_kid("a", "n"), now()));
    }
    for stream in [20, 21] {
        assert_waits(&request(&mut gate, stream, &with_kid("b", "n"), now()));
    }
    for kid in ["a", "b"] {
        gate.on_response(&id(kid), Err("down".into()), now());
    }
    assert!(gate.has_ready());
    let turns: Vec<_> = gate.decide(now()).iter().map(|(s, _)| *s).collect();
    assert_eq!(turns, [10, 20, 11, 21, 12, 13]);
}

#[test]
fn a_token_is_decided_by_the_time_of_its_turn() {
    let mut gate = worker(&Rc::default());
    for stream in 1..=2 {
        assert_waits(&request(&mut gate, stream, &token(stream), now()));
    }
    gate.on_response(&key_id(), jwk_response(&jwk()), now());
    let ready = gate.next_ready().unwrap();
    assert_accepted(&gate.resume(ready, &head(&token(1)), later(299)));
    let ready = gate.next_ready().unwrap();
    let decision = gate.resume(ready, &head(&token(2)), later(300));
    assert_eq!(refusal(decision), Refusal::Expired);
}

#[test]
fn an_answer_decides_nothing_about_another_key() {
    let mut gate = worker(&Rc::default());
    assert_waits(&request(&mut gate, 1, &token(1), now()));
    gate.on_response(&key_id(), jwk_response(&jwk()), now());
    let ready = gate.next_ready().unwrap();
    let decision = gate.resume(ready, &head(&with_kid("k2", "n")), now());
    assert_eq!(refusal(decision), Refusal::Key(KeyProblem::Unavailable));
}

#[test]
fn requests_that_come_while_the_others_are_decided_need_no_place() {
    let mut gate = worker(&Rc::default());
    for stream in 1..=3 {
        assert_waits(&request(&mut gate, stream, &token(stream), now()));
    }
    gate.on_response(&key_id(), jwk_response(&jwk()), now());
    assert_accepted(&request(&mut gate, 4, &token(4), now()));
    let decisions = gate.decide(now());
    assert_eq!(decisions.len(), 3);
    decisions.iter().for_each(|(_, d)| assert_accepted(d));
}

#[test]
fn a_request_that_waited_is_redirected_from_its_own_url() {
    let mut rules = rules();
    rules.access.auth_redirect_url = Some("https://login/".into());
    let mut gate = worker(&Rc::default());
    gate.inner.access = rules.access;
    let bearer = format!("Bearer {}", token(1));
    let head = Fields::of(&[
        (":scheme", "https"),
        (":authority", "api"),
        (":path", "/a"),
        ("authorization", &bearer),
    ]);
    assert_waits(&gate.on_request(1, &head, now()));
    match answer(&mut gate, &key_id(), 404, "", now()).remove(0).1 {
        Decision::Refuse(refused) => {
            assert_eq!(refused.redirect_from.as_deref(), Some("https://api/a"));
        }
        other => panic!("{other:?}"),
    }
}

fn id(kid: &str) -> FetchId {
    FetchId::Key(KeyName::new("svc".into(), kid.into()).unwrap())
}

fn jwk_response(body: &str) -> Result<Response<'_>, String> {
    Ok(Response {
        status: 200,
        cache_control: None,
        body: body.as_bytes(),
    })
}
