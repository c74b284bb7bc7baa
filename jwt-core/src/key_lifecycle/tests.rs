use super::*;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds).unwrap()
}

/// A life whose keys are replaced every hour; it is the hour 0.
fn life(active_since: Option<i64>, has_pending: bool) -> Lifecycle {
    Lifecycle::new(Some(HOUR), active_since.map(at), has_pending, 0)
}

/// What to do once every pause is over.
fn next(life: &Lifecycle) -> Step {
    let now = life.not_before.unwrap_or(at(0));
    life.next(now)
}

fn checked(life: &mut Lifecycle, which: Which, standing: Standing) {
    assert_eq!(next(life), Step::Check(which));
    life.checked(which, standing, at(0), 0);
}

fn published(life: &mut Lifecycle, signed_by: SignedBy, publication: Publication) {
    assert_eq!(next(life), Step::Publish(signed_by));
    life.publishing();
    life.published(publication, at(0), 0);
}

fn activated(life: &mut Lifecycle) {
    assert_eq!(next(life), Step::Activate);
    life.activated(at(0), at(0));
    assert!(matches!(next(life), Step::Wait(_)) && life.has_asked);
}

#[test]
fn without_keys_one_is_made_published_by_itself_and_polled_for() {
    let mut life = life(None, false);
    assert_eq!(next(&life), Step::Make);
    life.made();
    published(&mut life, SignedBy::Itself, Publication::AwaitsApproval);
    assert_eq!(life.next(at(0)), Step::Wait(Duration::from_millis(500)));
    for millis in [1000, 2000, 4000, 8000, 10_000, 10_000] {
        checked(&mut life, Which::Pending, Standing::AwaitsApproval);
        assert_eq!(life.next(at(0)), Step::Wait(Duration::from_millis(millis)));
        assert!(!life.may_sign());
    }
    checked(&mut life, Which::Pending, Standing::Approved);
    activated(&mut life);
    assert!(life.may_sign());
}

#[test]
fn a_stored_key_that_the_registry_knows_is_used() {
    let mut life = life(Some(0), false);
    assert!(!life.may_sign(), "it has to be asked for first");
    checked(&mut life, Which::Active, Standing::Approved);
    assert!(life.may_sign());
    assert_eq!(life.next(at(0)), Step::Wait(RECHECK_EVERY));
}

#[test]
fn a_stored_key_is_used_while_nobody_answers() {
    let mut life = life(Some(0), false);
    for _ in 0..5 {
        checked(&mut life, Which::Active, Standing::Unclear);
        assert!(life.may_sign());
    }
    assert_eq!(life.next(at(0)), Step::Wait(Duration::from_secs(8)));
    checked(&mut life, Which::Active, Standing::Approved);
    assert_eq!(life.failures, 0);
}

#[test]
fn a_stored_key_that_is_unknown_or_expired_is_replaced() {
    for standing in [Standing::Unknown, Standing::Expired] {
        let mut life = life(Some(0), false);
        checked(&mut life, Which::Active, standing);
        assert_eq!(next(&life), Step::Make);
        life.made();
        assert!(life.may_sign(), "a wrong 404 ends nothing by itself");
        published(&mut life, SignedBy::Itself, Publication::AwaitsApproval);
        assert!(!life.may_sign(), "the registry works, and has another key");
        checked(&mut life, Which::Pending, Standing::Approved);
        activated(&mut life);
        assert!(life.may_sign());
    }
}

#[test]
fn a_key_is_rotated_when_its_time_has_come() {
    let mut life = life(Some(0), false);
    checked(&mut life, Which::Active, Standing::Approved);
    life.checked(Which::Active, Standing::Approved, at(3500), 0);
    assert_eq!(life.next(at(3500)), Step::Wait(Duration::from_secs(100)));
    assert_eq!(life.next(at(3600)), Step::Make);
    life.made();
    published(&mut life, SignedBy::ActiveKey, Publication::Approved);
    checked(&mut life, Which::Pending, Standing::Approved);
    activated(&mut life);
}

#[test]
fn a_key_may_be_kept_for_ever() {
    let mut life = Lifecycle::new(None, Some(at(0)), false, 0);
    checked(&mut life, Which::Active, Standing::Approved);
    assert_eq!(life.next(at(1 << 33)), Step::Check(Which::Active));
}

#[test]
fn a_failed_rotation_keeps_the_active_key_and_is_tried_again() {
    let mut life = life(Some(-3600), false);
    checked(&mut life, Which::Active, Standing::Approved);
    life.made();
    for seconds in [500, 1000, 2000] {
        published(&mut life, SignedBy::ActiveKey, Publication::Refused);
        assert_eq!(life.next(at(0)), Step::Wait(Duration::from_millis(seconds)));
        assert!(life.may_sign());
        checked(&mut life, Which::Pending, Standing::Unknown);
        checked(&mut life, Which::Active, Standing::Approved);
    }
    published(&mut life, SignedBy::ActiveKey, Publication::Approved);
    checked(&mut life, Which::Pending, Standing::Approved);
    activated(&mut life);
}

#[test]
fn a_rotation_whose_answer_was_lost_is_not_sent_twice() {
    let mut life = life(Some(-3600), false);
    checked(&mut life, Which::Active, Standing::Approved);
    life.made();
    published(&mut life, SignedBy::ActiveKey, Publication::Unclear);
    checked(&mut life, Which::Pending, Standing::Unclear);
    assert!(life.may_sign());
    checked(&mut life, Which::Pending, Standing::Approved);
    activated(&mut life);
}

#[test]
fn a_rotation_with_a_revoked_key_becomes_a_new_beginning() {
    let mut life = life(Some(-3600), false);
    checked(&mut life, Which::Active, Standing::Approved);
    life.made();
    published(&mut life, SignedBy::ActiveKey, Publication::Refused);
    checked(&mut life, Which::Pending, Standing::Unknown);
    checked(&mut life, Which::Active, Standing::Unknown);
    published(&mut life, SignedBy::Itself, Publication::Approved);
    checked(&mut life, Which::Pending, Standing::Approved);
    activated(&mut life);
}

#[test]
fn after_a_crash_the_registry_says_how_far_the_pending_key_came() {
    // Not at all, and the active key is good.
    let mut fresh = life(Some(-3600), true);
    checked(&mut fresh, Which::Pending, Standing::Unknown);
    checked(&mut fresh, Which::Active, Standing::Approved);
    published(&mut fresh, SignedBy::ActiveKey, Publication::Approved);
    // To the end: the active key on the disk is revoked already.
    let mut done = life(Some(-3600), true);
    checked(&mut done, Which::Pending, Standing::Approved);
    activated(&mut done);
    // The first key of all, published or not.
    let mut first = life(None, true);
    checked(&mut first, Which::Pending, Standing::AwaitsApproval);
    checked(&mut first, Which::Pending, Standing::Approved);
    activated(&mut first);
    let mut first = life(None, true);
    checked(&mut first, Which::Pending, Standing::Unknown);
    published(&mut first, SignedBy::Itself, Publication::Approved);
}

#[test]
fn a_pending_key_that_expired_is_discarded() {
    let mut life = life(None, true);
    checked(&mut life, Which::Pending, Standing::Expired);
    assert_eq!(next(&life), Step::Discard);
    life.discarded();
    assert_eq!(next(&life), Step::Make);
}

/// The registry approved the pending key, and revoked it before that was seen here.
#[test]
fn a_key_that_may_not_be_published_any_more_gives_way_to_a_new_one() {
    let mut life = life(None, true);
    checked(&mut life, Which::Pending, Standing::Unknown);
    published(&mut life, SignedBy::Itself, Publication::Forbidden);
    checked(&mut life, Which::Pending, Standing::Unknown);
    assert_eq!(next(&life), Step::Discard);
    life.discarded();
    assert_eq!(next(&life), Step::Make);
    life.made();
    published(&mut life, SignedBy::Itself, Publication::AwaitsApproval);
    checked(&mut life, Which::Pending, Standing::Approved);
    activated(&mut life);
}

#[test]
fn a_key_that_the_registry_has_in_spite_of_a_403_is_kept() {
    for standing in [Standing::Approved, Standing::AwaitsApproval] {
        let mut life = life(None, true);
        checked(&mut life, Which::Pending, Standing::Unknown);
        published(&mut life, SignedBy::Itself, Publication::Forbidden);
        checked(&mut life, Which::Pending, Standing::Unclear);
        checked(&mut life, Which::Pending, standing);
        assert_ne!(next(&life), Step::Discard);
    }
}

#[test]
fn a_rotation_that_is_forbidden_tries_the_same_key_once_more_and_then_a_new_one() {
    let mut life = life(Some(-3600), false);
    checked(&mut life, Which::Active, Standing::Approved);
    life.made();
    for _ in 0..2 {
        published(&mut life, SignedBy::ActiveKey, Publication::Forbidden);
        checked(&mut life, Which::Pending, Standing::Unknown);
        if next(&life) == Step::Discard {
            break;
        }
        checked(&mut life, Which::Active, Standing::Approved);
    }
    assert_eq!(next(&life), Step::Discard);
    life.discarded();
    assert!(life.may_sign());
    checked(&mut life, Which::Active, Standing::Approved);
    assert_eq!(next(&life), Step::Make);
    life.made();
    published(&mut life, SignedBy::ActiveKey, Publication::Approved);
}

/// How long it takes until so many keys have been made, where each is forbidden.
fn time_of_forbidden_keys(active_since: Option<i64>, wanted: u32) -> Duration {
    let mut life = life(active_since, false);
    let (mut now, mut made) = (at(0), 0);
    while made < wanted {
        match life.next(now) {
            Step::Wait(pause) => now = now + pause,
            Step::Check(which) => life.checked(which, Standing::Unknown, now, 0),
            Step::Make => {
                made += 1;
                life.made();
            }
            Step::Publish(_) => {
                life.publishing();
                life.published(Publication::Forbidden, now, 0);
            }
            Step::Discard => life.discarded(),
            Step::Activate => panic!("no key was approved"),
        }
    }
    now.since(at(0))
}

#[test]
fn a_registry_that_forbids_every_key_costs_a_key_a_minute_at_most() {
    for active_since in [None, Some(0)] {
        let [some, more] = [20, 30].map(|count| time_of_forbidden_keys(active_since, count));
        assert_eq!(more - some, LONGEST_PAUSE * 10, "{active_since:?}");
    }
}

#[test]
fn a_registry_that_forgot_a_pending_key_gets_it_again() {
    let mut life = life(None, true);
    checked(&mut life, Which::Pending, Standing::AwaitsApproval);
    checked(&mut life, Which::Pending, Standing::Unknown);
    published(&mut life, SignedBy::Itself, Publication::AwaitsApproval);
}

#[test]
fn an_active_key_is_asked_for_now_and_then() {
    let mut life = life(Some(0), false);
    checked(&mut life, Which::Active, Standing::Approved);
    assert_eq!(life.next(at(300)), Step::Check(Which::Active));
    life.checked(Which::Active, Standing::Unknown, at(300), 0);
    assert_eq!(life.next(at(300)), Step::Make);
}

#[test]
fn what_the_registry_may_have_is_known_at_every_step() {
    let mut life = life(None, false);
    life.made();
    assert!(!life.may_be_published());
    life.publishing();
    assert!(life.may_be_published() && !life.awaits_approval());
    life.published(Publication::AwaitsApproval, at(0), 0);
    assert!(life.may_be_published() && life.awaits_approval());
    life.checked(Which::Pending, Standing::Unknown, at(0), 0);
    assert!(!life.may_be_published());
}

#[test]
fn a_clock_that_is_set_back_does_not_prolong_a_pause() {
    let mut life = life(Some(0), false);
    life.checked(Which::Active, Standing::Unclear, at(100_000), 0);
    assert!(matches!(life.next(at(100_000)), Step::Wait(_)));
    assert_eq!(life.next(at(0)), Step::Check(Which::Active));
}

#[test]
fn a_good_answer_is_believed_once_the_key_is_served() {
    let mut life = life(Some(-3600), false);
    checked(&mut life, Which::Active, Standing::Approved);
    life.made();
    published(&mut life, SignedBy::ActiveKey, Publication::Approved);
    checked(&mut life, Which::Pending, Standing::Unknown);
    assert_eq!(life.next(at(0)), Step::Wait(Duration::from_millis(500)));
    assert!(life.may_sign());
    published(&mut life, SignedBy::ActiveKey, Publication::Approved);
    checked(&mut life, Which::Pending, Standing::Approved);
    activated(&mut life);
}

#[test]
fn a_wrong_404_does_not_make_a_rotation_a_new_beginning() {
    let mut life = life(Some(0), false);
    checked(&mut life, Which::Active, Standing::Unknown);
    life.made();
    published(&mut life, SignedBy::Itself, Publication::Refused);
    checked(&mut life, Which::Pending, Standing::Unknown);
    checked(&mut life, Which::Active, Standing::Approved);
    assert!(life.may_sign());
    published(&mut life, SignedBy::ActiveKey, Publication::Approved);
    checked(&mut life, Which::Pending, Standing::Approved);
    activated(&mut life);
}

#[test]
fn signers_that_start_together_do_not_keep_step() {
    let waits = |pace, rotate_every| {
        let mut life = Lifecycle::new(Some(rotate_every), Some(at(0)), false, pace);
        life.checked(Which::Active, Standing::Approved, at(0), 0);
        life.next(at(0))
    };
    for (pace, recheck, rotation) in [(0, 300, 100), (u16::MAX, 240, 90)] {
        let (hour, soon) = (HOUR, Duration::from_secs(100));
        let seconds = |step| match step {
            Step::Wait(pause) => pause.as_secs_f64().round(),
            other => panic!("{other:?}"),
        };
        assert_eq!(seconds(waits(pace, hour)), f64::from(recheck));
        assert_eq!(seconds(waits(pace, soon)), f64::from(rotation));
    }
}
