//! What goes on to the upstream, and what does not.

use super::*;
use crate::credentials::Stripped;
use jwt_core::handover::ClaimToHeader;

fn gate_with(handover: Handover) -> Gate {
    let mut rules = rules();
    rules.handover = handover;
    rules.access.cookies_enabled = true;
    gate(rules, preshared(), Box::new(VoidNonceStore))
}

#[test]
fn what_a_client_sends_under_the_names_of_our_fields_is_removed() {
    let head = Fields::of(&[
        (":path", "/"),
        ("x-jwt-sub", "root"),
        ("x_jwt_sub", "root"),
        ("x-jwt_payload", "forged"),
        ("x-jwt-subject", "other"),
    ]);
    let gate = gate_with(Handover {
        forward_payload_header: Some("x-jwt-payload".into()),
        claim_to_headers: vec![ClaimToHeader {
            claim_name: "sub".into(),
            header_name: "x-jwt-sub".into(),
        }],
        ..Handover::default()
    });
    let expected = ["x-jwt-sub", "x_jwt_sub", "x-jwt_payload"];
    assert_eq!(gate.reserved_fields(&head), expected);
    let gate = gate_with(Handover::default());
    assert!(gate.reserved_fields(&head).is_empty());
}

#[test]
fn credentials_are_taken_out_of_what_goes_on() {
    let head = Fields::of(&[
        ("authorization", "Bearer a.b.c"),
        ("cookie", "a=b; access_token=a.b.c"),
    ]);
    let names = |stripped: Vec<Stripped>| stripped.iter().map(|it| it.name).collect::<Vec<_>>();
    let gate = gate_with(Handover::default());
    assert_eq!(
        names(gate.without_token(&head)),
        ["authorization", "cookie"]
    );
    // Nothing has verified these; they may be the upstream's own.
    assert!(gate.without_unverified(&head).is_empty());
    let gate = gate_with(Handover {
        forward_unverified: false,
        ..Handover::default()
    });
    let removed = names(gate.without_unverified(&head));
    assert_eq!(removed, ["authorization", "cookie"]);
}
