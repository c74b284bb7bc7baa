use super::*;
use std::time::Duration;

/// Small enough for a test, large enough for chance to even out.
fn small_fleet() -> Fleet {
    Fleet {
        callers: 4,
        request_gap: Duration::from_secs(40),
        rotate_every: Duration::from_secs(2 * 3600),
        ..Fleet::of(60)
    }
}

fn only(fleet: Fleet, scenario: &str) -> Outcome {
    let mut all = scenarios::all(fleet).into_iter();
    run(all.find(|it| it.name == scenario).unwrap())
}

fn steady(fleet: Fleet) -> Outcome {
    only(fleet, "nothing happens")
}

/// A tenth for averages. The busiest second of a small fleet is a matter of chance: a quarter,
/// and four times what chance makes of it.
#[test]
fn the_formulas_say_what_the_rules_do() {
    for Outcome { scenario, rows, .. } in report_of(small_fleet()).outcomes {
        for row in rows {
            let Load { mean, peak } = row.simulated;
            if let Some(calculated) = row.calculated_mean {
                let tolerance = 0.1 * calculated;
                assert!(
                    (mean - calculated).abs() <= tolerance.max(0.003),
                    "{scenario}: {row:?}"
                );
            }
            if let Some(calculated) = row.calculated_peak {
                let tolerance = 0.25 * calculated + 4.0 * calculated.sqrt();
                assert!(
                    (peak - calculated).abs() <= tolerance,
                    "{scenario}: {row:?}"
                );
            }
        }
    }
}

#[test]
fn an_outage_within_the_permitted_staleness_refuses_nobody() {
    // Two things may keep a verifier from having a key for so long: that it was rotated just
    // before, and that it is used less than once a minute. Here nothing of the kind happens.
    let fleet = Fleet {
        request_gap: Duration::from_secs(5),
        rotate_every: Duration::from_secs(1000 * 3600),
        ..small_fleet()
    };
    let outage = only(fleet, "the registry is down for 10 min, and back");
    assert!(outage.requests > 100_000, "{outage:?}");
    assert_eq!(outage.refused, 0, "{outage:?}");
}

#[test]
fn the_same_fleet_has_the_same_outcome() {
    let tiny = Fleet {
        callers: 2,
        ..Fleet::of(5)
    };
    assert_eq!(steady(tiny).rows, steady(tiny).rows);
}

#[test]
fn workers_of_one_verifier_fetch_for_each_other() {
    let mean = |workers| {
        let fleet = Fleet {
            workers,
            ..small_fleet()
        };
        steady(fleet).rows[0].simulated.mean
    };
    let (one, four) = (mean(1), mean(4));
    assert!((one - four).abs() < 0.1 * one, "{one} {four}");
}
