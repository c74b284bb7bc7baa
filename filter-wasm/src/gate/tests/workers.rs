//! What the workers of a process do for each other.

use super::*;

#[test]
fn what_one_worker_has_fetched_serves_the_others() {
    let shared = Rc::default();
    let mut one = worker_with_key(&shared);
    let mut two = worker(&shared);
    assert_accepted(&request(&mut two, 1, &token(2), now()));
    assert_eq!(
        refusal(request(&mut one, 2, &token(2), now())),
        Refusal::Replayed
    );
}

#[test]
fn workers_that_want_one_key_at_once_make_one_fetch() {
    let (mut one, mut two) = one_fetches_for_both();
    assert!(two.has_work() && two.collect_from_others(now()).is_empty());

    found(&mut one, now());
    let decisions = two.collect_from_others(now());
    assert!(matches!(decisions.as_slice(), [(1, Decision::Accept(_))]));
    assert!(!two.has_work());
}

#[test]
fn a_fetch_that_another_worker_has_just_finished_is_not_made_again() {
    let shared = Rc::default();
    let (mut one, mut two) = (worker(&shared), worker(&shared));
    request(&mut one, 1, &token(1), now());
    request(&mut two, 1, &token(2), now());
    assert_eq!(one.begin_fetches(now()).len(), 1);
    found(&mut one, now());
    assert_eq!(two.begin_fetches(now()).len(), 0);
    assert_accepted(&two.collect_from_others(now())[0].1);
}

#[test]
fn a_later_request_that_finds_the_key_published_leaves_the_earlier_ones_their_answer() {
    let (mut one, mut two) = one_fetches_for_both();
    found(&mut one, now());
    assert_accepted(&request(&mut two, 2, &token(3), now()));
    assert_accepted(&two.collect_from_others(now())[0].1);
    assert!(!two.has_work());
}

#[test]
fn a_refusal_is_handed_to_the_other_workers_too() {
    let (mut one, mut two) = one_fetches_for_both();
    answer(&mut one, &key_id(), 404, "", now());
    let (_, decision) = two.collect_from_others(now()).remove(0);
    assert_eq!(refusal(decision), Refusal::Key(KeyProblem::Unknown));
}

#[test]
fn a_worker_that_dies_while_it_fetches_is_replaced() {
    let (one, mut two) = one_fetches_for_both();
    drop(one);
    let late = later(7);
    assert!(two.collect_from_others(late).is_empty());
    assert_eq!(two.begin_fetches(late).len(), 1);
    assert_accepted(&found(&mut two, late)[0].1);
}

#[test]
fn a_worker_that_could_not_ask_takes_no_key_away_from_another() {
    let shared = Rc::default();
    let mut one = worker_with_key(&shared);
    let mut two = worker(&shared);
    let late = later(110);
    assert_waits(&request(&mut two, 1, &token(2), late));
    assert_eq!(two.begin_fetches(late).len(), 1);
    assert_waits(&request(&mut one, 2, &token(3), late));
    assert!(one.begin_fetches(late).is_empty());
    let (_, without_key) = down(&mut two, late).remove(0);
    assert_eq!(refusal(without_key), Refusal::Key(KeyProblem::Unavailable));

    assert_accepted(&request(&mut one, 3, &token(4), late));
    assert_accepted(&one.collect_from_others(late)[0].1);
    assert!(!one.has_work());
}

/// Two workers with a request that waits for the key, which the first one fetches.
fn one_fetches_for_both() -> (Gate, Gate) {
    let shared = Rc::default();
    let (mut one, mut two) = (worker(&shared), worker(&shared));
    assert_waits(&request(&mut one, 1, &token(1), now()));
    assert_waits(&request(&mut two, 1, &token(2), now()));
    assert_eq!(one.begin_fetches(now()).len(), 1);
    assert_eq!(two.begin_fetches(now()).len(), 0);
    (one, two)
}

/// Two workers that have the key since `now()`.
fn two_with_key() -> (Gate, Gate) {
    let shared = Rc::default();
    let one = worker_with_key(&shared);
    let mut two = worker(&shared);
    assert_accepted(&request(&mut two, 1, &token(2), now()));
    (one, two)
}

/// The worker fetches the key ahead of its end, and the registry refuses it.
fn revoked(gate: &mut Gate, now: Timestamp) {
    assert_accepted(&request(gate, 2, &token(3), now));
    assert_eq!(gate.begin_fetches(now).len(), 1);
    answer(gate, &key_id(), 403, "", now);
}

#[test]
fn a_key_that_one_worker_was_refused_serves_at_none() {
    let (mut one, mut two) = two_with_key();
    revoked(&mut one, later(92));
    let decision = request(&mut two, 2, &token(4), later(93));
    assert_eq!(refusal(decision), Refusal::Key(KeyProblem::Expired));
    // Long after, but before this copy of the key is past its time.
    let (mut one, mut two) = two_with_key();
    revoked(&mut one, later(92));
    assert_waits(&request(&mut two, 2, &token(4), later(99)));
}

#[test]
fn a_key_that_one_worker_was_refused_is_not_used_past_its_time_by_another() {
    let unavailable = Refusal::Key(KeyProblem::Unavailable);
    let (mut one, mut two) = two_with_key();
    revoked(&mut one, later(92));
    // That it cannot be asked later does not take the refusal back.
    assert_waits(&request(&mut one, 3, &token(4), later(110)));
    assert_eq!(one.begin_fetches(later(110)).len(), 1);
    let (_, decision) = down(&mut one, later(110)).remove(0);
    assert_eq!(refusal(decision), unavailable);
    assert_waits(&request(&mut two, 3, &token(5), later(112)));
    assert_eq!(two.begin_fetches(later(112)).len(), 1);
    let (_, decision) = down(&mut two, later(112)).remove(0);
    assert_eq!(refusal(decision), unavailable);
}

#[test]
fn a_key_that_is_used_past_its_time_ends_with_the_refusal_of_another_worker() {
    let (mut one, mut two) = two_with_key();
    let late = later(110);
    for (gate, number) in [(&mut one, 3), (&mut two, 4)] {
        assert_waits(&request(gate, 2, &token(number), late));
        assert_eq!(gate.begin_fetches(late).len(), 1);
        assert_accepted(&down(gate, late)[0].1);
    }
    assert_accepted(&request(&mut two, 3, &token(5), late));
    answer(&mut one, &key_id(), 403, "", late);
    let decision = request(&mut two, 4, &token(6), late);
    assert_eq!(refusal(decision), Refusal::Key(KeyProblem::Expired));
}

#[test]
fn keys_that_another_worker_brings_do_not_count_as_unknown() {
    let shared = Rc::default();
    let (mut one, mut two) = (worker(&shared), worker(&shared));
    for number in 0..=50 {
        let kid = format!("k-{number}");
        let token = |id: &str| with_kid(&kid, &format!("{id}{number}"));
        assert_waits(&request(&mut one, 1, &token("a"), now()));
        assert_waits(&request(&mut two, 1, &token("b"), now()));
        let fetches = one.begin_fetches(now());
        two.begin_fetches(now());
        let jwk = TestSigner::service().public_key().to_jwk(&kid).to_string();
        answer(&mut one, &fetches[0].id, 200, &jwk, now());
        assert_accepted(&two.collect_from_others(now())[0].1);
    }
}

#[test]
fn a_key_of_a_configuration_with_a_longer_duration_is_not_taken_over() {
    let shared = Rc::default();
    worker_with_key(&shared);
    let cache = Cache {
        duration: Duration::from_secs(10),
        ..cache()
    };
    let mut gate = worker_that_caches(cache, &shared);
    assert_waits(&request(&mut gate, 1, &token(2), now()));
    assert_eq!(gate.begin_fetches(now()).len(), 1);
    assert_accepted(&found(&mut gate, now())[0].1);
    assert_waits(&request(&mut gate, 2, &token(3), later(10)));
}
